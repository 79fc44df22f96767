//! Memory that its owner takes away while the GPU still has it mapped.
//!
//! A program may register memory of its own with the GPU and give it back to the host, or protect it, without deregistering it. On hardware the driver
//! is told and the GPU gets a page fault. Here the simulator's own access faults: SIGSEGV, or SIGBUS behind the end of a file. The handler
//! puts a page of zeroes in the place so that the access ends, and notes it in the address space's [`Lost`]; from then on every translation is
//! a GPU fault, so the running kernel stops at its next access. The command processor then takes the page out of the GPU's page tables, undoes what
//! the handler did and stops the queue with a memory fault ([`AddressSpace::take_lost`](crate::memory::AddressSpace::take_lost)).
//!
//! Only threads that are inside ([`enter`]) are handled so: those that execute packets. For all others, and for addresses that do not belong to
//! GPU mappings, the handlers that were there before are called. They are installed with the first queue; a program that replaces them later, and
//! does not call the earlier ones, is back to a crash.
//!
//! Memory ordering: a thread's notes are read by itself, or by a thread that has waited for it.

use std::cell::Cell;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::sync::Once;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const PAGE: usize = 4096;
/// Pages that one packet or instruction can touch between two translations: a DMA copy of 4 MiB on both sides.
const MOST: usize = 2304;

/// How the handler let an access end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Undo {
    /// Nothing was mapped: our page goes.
    Unmap = 1,
    /// It was not readable.
    ForbidAll = 2,
    /// It was not writable.
    ForbidWrites = 3,
    /// The file behind it has ended: our page stays.
    Keep = 4,
}

/// Host pages that were found missing, until they are dealt with.
#[derive(Debug)]
pub(crate) struct Lost {
    count: AtomicUsize,
    /// Faulting address of the first.
    first: AtomicUsize,
    /// Page address, with an [`Undo`] in the low bits.
    pages: Box<[AtomicUsize]>,
}

impl Default for Lost {
    fn default() -> Self {
        let pages = (0..MOST).map(|_| AtomicUsize::new(0)).collect();
        Self { count: AtomicUsize::new(0), first: AtomicUsize::new(0), pages }
    }
}

impl Lost {
    /// Whether anything is missing.
    #[inline]
    pub fn any(&self) -> bool {
        // Relaxed: see the module's description.
        self.count.load(Ordering::Relaxed) != 0
    }

    /// Faulting address of the first missing page, and all page addresses.
    pub fn list(&self) -> (usize, Vec<usize>) {
        // Relaxed: see the module's description.
        let count = self.count.load(Ordering::Relaxed).min(MOST);
        let pages =
            self.pages[..count].iter().map(|page| page.load(Ordering::Relaxed) & !(PAGE - 1)).collect();
        (self.first.load(Ordering::Relaxed), pages)
    }

    /// Undoes what the handler did. The GPU's page tables must not lead to these pages any more.
    pub fn undo(&self) {
        // Relaxed: see the module's description.
        let count = self.count.load(Ordering::Relaxed).min(MOST);
        for page in &self.pages[..count] {
            let word = page.load(Ordering::Relaxed);
            let at = (word & !(PAGE - 1)) as *mut libc::c_void;
            // SAFETY: our own page, or one whose protection we have changed; the program had none there, or had forbidden its use.
            unsafe {
                match word & (PAGE - 1) {
                    1 => libc::munmap(at, PAGE),
                    2 => libc::mprotect(at, PAGE, libc::PROT_NONE),
                    3 => libc::mprotect(at, PAGE, libc::PROT_READ),
                    _ => 0,
                };
            }
        }
        self.count.store(0, Ordering::Relaxed);
    }

    /// Lets an access end. Called by the signal handler: system calls and atomics only.
    fn replace(&self, address: usize, signal: i32, write: bool) -> bool {
        let page = address & !(PAGE - 1);
        // Relaxed: see the module's description. AcqRel is not needed: a slot is this thread's own once it is counted.
        let slot = self.count.fetch_add(1, Ordering::Relaxed);
        if slot >= MOST {
            return false;
        }
        if slot == 0 {
            self.first.store(address, Ordering::Relaxed);
        }
        let map = |fixed| {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | fixed;
            // SAFETY: a page at which an access has just failed: with NOREPLACE nothing is replaced; without, the file behind it has ended.
            unsafe { libc::mmap(page as *mut libc::c_void, PAGE, protection, flags, -1, 0) as usize == page }
        };
        let undo = if signal == libc::SIGBUS {
            map(libc::MAP_FIXED).then_some(Undo::Keep)
        } else if map(libc::MAP_FIXED_NOREPLACE) {
            Some(Undo::Unmap)
        } else {
            // Something is there: it is protected.
            // SAFETY: only the protection of a page of this process changes, until `undo`.
            let opened = unsafe {
                libc::mprotect(page as *mut libc::c_void, PAGE, libc::PROT_READ | libc::PROT_WRITE) == 0
            };
            opened.then_some(if write { Undo::ForbidWrites } else { Undo::ForbidAll })
        };
        if let Some(undo) = undo {
            self.pages[slot].store(page | undo as usize, Ordering::Relaxed);
        }
        undo.is_some()
    }
}

/// What a thread that has entered accesses memory through.
#[derive(Clone, Copy)]
struct Entered {
    lost: *const Lost,
    generation: *const AtomicU64,
}

thread_local! {
    static ENTERED: Cell<Option<Entered>> = const { Cell::new(None) };
}

/// As long as it lives, this thread's faults are the GPU's. It ends where it began, on one thread.
pub(crate) struct Inside<'a> {
    before: Option<Entered>,
    borrowed: PhantomData<(&'a Lost, *const ())>,
}

/// This thread executes packets in an address space. `generation` moves when a page is missing, so that cached translations are looked up
/// again.
pub(crate) fn enter<'a>(lost: &'a Lost, generation: &'a AtomicU64) -> Inside<'a> {
    let before = ENTERED.replace(Some(Entered { lost, generation }));
    Inside { before, borrowed: PhantomData }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        ENTERED.set(self.before);
    }
}

static INSTALLED: Once = Once::new();
static mut BEFORE: [MaybeUninit<libc::sigaction>; 2] = [MaybeUninit::uninit(), MaybeUninit::uninit()];

/// Installs the handlers, once in a process.
pub(crate) fn install() {
    INSTALLED.call_once(|| {
        // SAFETY: plain libc calls with valid structures; BEFORE is written before the handler that reads it can run, and never again.
        unsafe {
            let before: *mut [MaybeUninit<libc::sigaction>; 2] = &raw mut BEFORE;
            for (signal, place) in [libc::SIGSEGV, libc::SIGBUS].into_iter().zip(&mut *before) {
                libc::sigaction(signal, std::ptr::null(), place.as_mut_ptr());
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = on_fault as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_NODEFER;
                libc::sigemptyset(&raw mut action.sa_mask);
                libc::sigaction(signal, &raw const action, std::ptr::null_mut());
            }
        }
    });
}

unsafe extern "C" fn on_fault(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    if let Ok(Some(entered)) = ENTERED.try_with(Cell::get) {
        // SAFETY: the kernel passes valid structures; the pointers are borrowed by the `Inside` that set them.
        let handled = unsafe {
            let write =
                (*context.cast::<libc::ucontext_t>()).uc_mcontext.gregs[libc::REG_ERR as usize] & 2 != 0;
            let ours =
                (*info).si_code > 0 && (*entered.lost).replace((*info).si_addr() as usize, signal, write);
            if ours {
                // Relaxed: this thread looks at it next.
                (*entered.generation).fetch_add(1, Ordering::Relaxed);
            }
            ours
        };
        if handled {
            return;
        }
    }
    // SAFETY: the structures are handed on as they came.
    unsafe { hand_on(signal, info, context) };
}

/// What would have happened without us.
unsafe fn hand_on(signal: i32, info: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: written by `install` before this handler could run; a handler found there has the type that its flags say.
    unsafe {
        let before: *const [MaybeUninit<libc::sigaction>; 2] = &raw const BEFORE;
        let action = (*before)[usize::from(signal == libc::SIGBUS)].assume_init_ref();
        match action.sa_sigaction {
            libc::SIG_DFL | libc::SIG_IGN => {
                // The access is repeated when we return, and then ends the process.
                let mut default: libc::sigaction = std::mem::zeroed();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &raw const default, std::ptr::null_mut());
            }
            handler if action.sa_flags & libc::SA_SIGINFO != 0 => {
                let function: extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void) =
                    std::mem::transmute(handler);
                function(signal, info, context);
            }
            handler => {
                let function: extern "C" fn(i32) = std::mem::transmute(handler);
                function(signal);
            }
        }
    }
}
