//! One kernel on one queue: adds two vectors on the GPU and checks every element.
//!
//! Run it on hardware as it is, or on the simulated GPU: `eclip sim -- target/debug/examples/02_one_dispatch`.

use std::error::Error;
use std::time::Duration;

use eclip_hsa::{Module, Queue, Runtime};

const N: usize = 10_000;
const SECOND: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let gpu = Runtime::new()?.gpu(0)?;
    let isa = gpu.isa().ok_or("this agent runs no code objects")?.to_string();
    let code = eclip_kernels::code_object(&isa, "vector").ok_or(format!("no kernels for {isa}"))?;
    // SAFETY: the kernels of this module check their index against n, which below is the length of every buffer.
    let module = unsafe { Module::from_bytes(&gpu, "vector", code)? };
    let add = module.kernel("vector_add")?;

    let a: Vec<f32> = (0..N).map(|i| i as f32).collect();
    let b: Vec<f32> = (0..N).map(|i| 2.0 * i as f32).collect();
    let (a, b, c) = (gpu.upload(&a)?, gpu.upload(&b)?, gpu.alloc::<f32>(N)?);

    let queue = Queue::builder(&gpu).label("example").profiling().create()?;
    // Grids count work-items. The last workgroup has some too many; the kernel ignores them.
    let grid = [N.next_multiple_of(256) as u32, 1, 1];
    let dispatch = add.dispatch(grid, [256, 1, 1]).arg(&a).arg(&b).arg(&c).arg(N as u32);
    let token = queue.dispatch(dispatch, SECOND)?;
    token.wait_timeout(10 * SECOND)?;

    let wrong = c.to_vec()?.iter().zip(0..N).filter(|&(&sum, i)| sum != 3.0 * i as f32).count();
    println!("{}: {N} sums in {:?} of GPU time, {wrong} wrong", gpu.product(), token.gpu_time()?.duration());
    if wrong > 0 { Err("some sums are wrong".into()) } else { Ok(()) }
}
