"""Registration: finding where one image lies in another of the same scene, and bringing it there."""
