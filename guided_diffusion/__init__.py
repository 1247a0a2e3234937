"""The mathematics of DDFM: the diffusion prior, its sampler and the EM rectification. Knows no files.

Begin with ``fusion``, Algorithm 1 line by line. What it calls:

- the prior: ``prior``, its network (``unet``, ``nn``, ``script_util``, ``losses``) and how that runs (``execution``,
  ``tiling``, ``fp16_util``, ``subpixel``, ``winograd``);
- the process: ``gaussian_diffusion``, ``respace``, ``samplers``, ``samples``, ``noise``;
- rectifications: ``rectification``, ``em`` with ``em_released`` and ``em_paper``, ``admm``, ``local``; solved
  with ``psf`` and ``neumann``;
- what they take: ``sources``, ``denoising``, ``ycbcr``, ``color_weights``;
- configuration: ``config``, ``fusion_config``, ``typed``.
"""
