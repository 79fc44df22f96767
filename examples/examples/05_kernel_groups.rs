//! Kernel groups: put together once, submitted often, on three queues, with dependencies, visibility and replaced arguments.
//!
//! Run it on hardware as it is, or on the simulated GPU: `eclip sim -- target/debug/examples/05_kernel_groups`.

use std::{error::Error, time::Duration};

use eclip_hsa::{KernelGroup, Module, Patch, Pool, Runtime, Token, Visibility};

const N: u32 = 2048;
const ROUNDS: u32 = 16;
const SECOND: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error>> {
    let gpu = Runtime::new()?.gpu(0)?;
    let isa = gpu.isa().ok_or("this agent runs no code objects")?.to_string();
    let code = eclip_kernels::code_object(&isa, "vector").ok_or(format!("no kernels for {isa}"))?;
    // SAFETY: the kernels of this module check their index against n, which below is the length of every buffer.
    let saxpy = unsafe { Module::from_bytes(&gpu, "vector", code)? }.kernel("saxpy")?;
    let pool = Pool::builder(&gpu).unmasked("ends").unmasked("left").unmasked("right").build()?;

    let zeros = || gpu.upload(&[0f32; N as usize]);
    let (ones, x, y, total) = (gpu.upload(&[1f32; N as usize])?, zeros()?, zeros()?, zeros()?);
    // to += times * from
    let add =
        |to, times: f32, from| saxpy.dispatch([N, 1, 1], [64, 1, 1]).arg(times).arg(from).arg(to).arg(N);
    let group = |one, other| {
        let mut builder = KernelGroup::builder(&gpu);
        builder.dispatch(one)?.dispatch(other)?;
        Ok::<_, eclip_hsa::Error>(builder)
    };
    // The kernels of a group run one after the other, unless they are said to be independent.
    let input = group(add(&x, 1.0, &ones), add(&y, 1.0, &ones))?.concurrent().build()?;
    let left = group(add(&x, 1.0, &x), add(&x, 1.0, &ones))?.build()?; // x = 2x + 1
    let right = group(add(&y, 1.0, &ones), add(&y, 1.0, &y))?.build()?; // y = 2(y + 1)
    let join = group(add(&total, 1.0, &x), add(&total, 1.0, &y))?.build()?; // total += x + y

    let (mut before, mut want, mut sum): (Option<Token>, _, f32) = (None, [0f32; 2], 0.0);
    for round in 0..ROUNDS {
        let by = (round % 3) as f32;
        // Argument 0 of both kernels, `times`, for this submission only.
        let patches = [Patch::new(0, 0, by), Patch::new(1, 0, -by)];
        let begin = input.on(&pool[0]).after(before.as_slice()).patch(&patches);
        // Only queues of this GPU wait for these: no event for the host, narrower fences.
        let begun = [begin.visibility(Visibility::Agent).submit(SECOND)?];
        let sides = [(&left, &pool[1]), (&right, &pool[2])]
            .map(|(side, queue)| side.on(queue).after(&begun).visibility(Visibility::Agent).submit(SECOND));
        let [left, right] = sides;
        before = Some(join.on(&pool[0]).after(&[left?, right?]).submit(SECOND)?);
        want = [2.0 * (want[0] + by) + 1.0, 2.0 * (want[1] - by + 1.0)];
        sum += want[0] + want[1];
    }
    before.ok_or("no round")?.wait_timeout(10 * SECOND)?;

    let wrong = total.to_vec()?.iter().filter(|&&value| value != sum).count();
    println!("{}: {ROUNDS} rounds of four groups give {sum}; {wrong} lanes disagree", gpu.product());
    pool.queues().iter().for_each(|queue| println!("    {}: {}", queue.label(), queue.packet_counts()));
    if wrong > 0 { Err("a dependency was not honoured".into()) } else { Ok(()) }
}
