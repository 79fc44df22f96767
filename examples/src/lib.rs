//! Numbered examples of `eclip-hsa`: see the `examples` folder of this package.
