// The slider and the two lists of a result; results come and go, so the document listens for them.
document.addEventListener("input", event => {
  const stage = event.target.closest && event.target.closest(".ddfm-compare");
  if (!stage) return;
  if (event.target.matches(".ddfm-cut"))
    stage.querySelector(".ddfm-stage").style.setProperty("--cut", event.target.value + "%");
  if (event.target.matches(".ddfm-pick"))
    for (const image of stage.querySelectorAll("img"))
      image.classList.toggle(event.target.dataset.side, image.dataset.key === event.target.value);
});
