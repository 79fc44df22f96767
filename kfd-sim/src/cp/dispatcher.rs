//! The workgroup dispatcher: which compute unit takes the next workgroup. Pure logic.
//!
//! Workgroups of a dispatch go to the shader engines enabled for its queue in strict turn, whatever their size and whatever
//! else would have room (Otterness & Anderson, "Exploring AMD GPU scheduling details by experimenting with worst
//! practices", RTNS 2021). Inside an engine the enabled CU with the fewest waves that has room takes it; ties go round.

use super::cu_mask::CuMask;
use crate::device::Shape;

/// VGPRs of each lane in a SIMD unit (GCN architecture documents).
const VGPRS_PER_SIMD: u32 = 256;
/// SGPRs of a SIMD unit (GCN3 and "Vega" ISA documents).
const SGPRS_PER_SIMD: u32 = 800;
/// Workgroups of more than one wave that a CU can hold: its barrier resources (GCN architecture documents).
const BARRIERS_PER_CU: u32 = 16;

/// What one workgroup occupies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Waves.
    pub waves: u32,
    /// VGPRs of each lane.
    pub vgprs: u32,
    /// SGPRs of each wave.
    pub sgprs: u32,
    /// Bytes of LDS.
    pub lds_bytes: u32,
}

/// Most waves of a workgroup: 1024 work-items (HSA and the hardware) in waves of 64.
const WAVES_PER_WORKGROUP: usize = 16;
/// Most SIMD units of a CU that this keeps track of.
const SIMDS: usize = 4;

/// SIMD unit of each wave of a workgroup.
type WaveSimds = [u8; WAVES_PER_WORKGROUP];

#[derive(Clone, Copy, Debug, Default)]
struct Simd {
    waves: u32,
    vgprs: u32,
    sgprs: u32,
}

#[derive(Clone, Debug, Default)]
struct Cu {
    simds: [Simd; SIMDS],
    lds_bytes: u32,
    barriers: u32,
}

impl Cu {
    fn take(&mut self, needs: &Needs, simds: &WaveSimds) {
        self.lds_bytes += needs.lds_bytes;
        self.barriers += u32::from(needs.waves > 1);
        for &at in &simds[..needs.waves as usize] {
            let simd = &mut self.simds[usize::from(at)];
            simd.waves += 1;
            simd.vgprs += needs.vgprs;
            simd.sgprs += needs.sgprs;
        }
    }

    fn give_back(&mut self, needs: &Needs, simds: &WaveSimds) {
        self.lds_bytes -= needs.lds_bytes;
        self.barriers -= u32::from(needs.waves > 1);
        for &at in &simds[..needs.waves as usize] {
            let simd = &mut self.simds[usize::from(at)];
            simd.waves -= 1;
            simd.vgprs -= needs.vgprs;
            simd.sgprs -= needs.sgprs;
        }
    }
}

/// A workgroup's place: where it sits and what it holds until released.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Shader engine.
    pub se: u32,
    /// Shader array in it.
    pub sh: u32,
    /// CU position in the array.
    pub cu: u32,
    needs: Needs,
    simds: WaveSimds,
}

/// Whose turn it is, for one dispatch.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Enabled CUs by enabled shader engine.
    engines: Vec<(u32, Vec<(u32, u32)>)>,
    engine: usize,
    rotor: Vec<usize>,
}

impl Turn {
    /// The turn of a new dispatch on a queue with this mask: begins at the first enabled shader engine (assumed).
    pub fn new(mask: &CuMask) -> Self {
        let engines: Vec<_> = (0..mask.cus_per_se().len() as u32)
            .map(|se| (se, mask.cus_of(se)))
            .filter(|(_, cus)| !cus.is_empty())
            .collect();
        let rotor = vec![0; engines.len()];
        Self { engines, engine: 0, rotor }
    }
}

/// Occupancy of every CU of the device.
#[derive(Clone, Debug)]
pub struct Dispatcher {
    sh_per_se: u32,
    slots_per_sh: u32,
    simds_per_cu: usize,
    waves_per_simd: u32,
    lds_per_cu: u32,
    cus: Vec<Cu>,
}

impl Dispatcher {
    /// An empty device.
    pub fn new(shape: &Shape) -> Self {
        let slots_per_sh = shape.cu_slots_per_sh.max(shape.cus_per_sh);
        assert!(shape.simds_per_cu as usize <= SIMDS, "a CU of this device has too many SIMD units");
        let count = shape.shader_engines * shape.sh_per_se * slots_per_sh;
        Self {
            sh_per_se: shape.sh_per_se,
            slots_per_sh,
            simds_per_cu: shape.simds_per_cu as usize,
            waves_per_simd: shape.waves_per_simd,
            lds_per_cu: shape.lds_bytes_per_cu,
            cus: vec![Cu::default(); count as usize],
        }
    }

    fn index(&self, se: u32, sh: u32, cu: u32) -> usize {
        ((se * self.sh_per_se + sh) * self.slots_per_sh + cu) as usize
    }

    /// SIMD units for the waves of a workgroup on this CU, if it has room.
    fn fit(&self, cu: &Cu, needs: &Needs) -> Option<WaveSimds> {
        if cu.lds_bytes + needs.lds_bytes > self.lds_per_cu
            || needs.waves as usize > WAVES_PER_WORKGROUP
            || (needs.waves > 1 && cu.barriers >= BARRIERS_PER_CU)
        {
            return None;
        }
        let mut simds = cu.simds;
        let mut placed = WaveSimds::default();
        for place in &mut placed[..needs.waves as usize] {
            let (at, simd) = simds[..self.simds_per_cu]
                .iter_mut()
                .enumerate()
                .filter(|(_, s)| {
                    s.waves < self.waves_per_simd
                        && s.vgprs + needs.vgprs <= VGPRS_PER_SIMD
                        && s.sgprs + needs.sgprs <= SGPRS_PER_SIMD
                })
                .min_by_key(|(_, s)| s.waves)?;
            simd.waves += 1;
            simd.vgprs += needs.vgprs;
            simd.sgprs += needs.sgprs;
            *place = at as u8;
        }
        Some(placed)
    }

    /// How many such workgroups an empty CU can hold: 0 if not even one.
    pub fn workgroups_per_cu(&self, needs: &Needs) -> u32 {
        let mut cu = Cu::default();
        let mut held = 0;
        while let Some(simds) = self.fit(&cu, needs) {
            cu.take(needs, &simds);
            held += 1;
        }
        held
    }

    /// Places the next workgroup, or `None` while the shader engine whose turn it is has no room (the others are *not*
    /// tried), or when the mask is empty.
    pub fn place(&mut self, turn: &mut Turn, needs: &Needs) -> Option<Grant> {
        let engine = turn.engine;
        let (se, cus) = turn.engines.get(engine)?;
        let start = turn.rotor[engine];
        let waves = |cu: &Cu| cu.simds.iter().map(|s| s.waves).sum::<u32>();
        let (at, simds) = (0..cus.len())
            .map(|i| (start + i) % cus.len())
            .filter_map(|at| {
                let cu = &self.cus[self.index(*se, cus[at].0, cus[at].1)];
                self.fit(cu, needs).map(|simds| (at, simds, waves(cu)))
            })
            // `min_by_key` keeps the first of equals: the next in rotation.
            .min_by_key(|&(_, _, waves)| waves)
            .map(|(at, simds, _)| (at, simds))?;
        let (sh, position) = cus[at];
        let grant = Grant { se: *se, sh, cu: position, needs: *needs, simds };
        turn.rotor[engine] = (at + 1) % cus.len();
        turn.engine = (engine + 1) % turn.engines.len();
        let index = self.index(grant.se, grant.sh, grant.cu);
        self.cus[index].take(needs, &grant.simds);
        Some(grant)
    }

    /// Gives back what a workgroup held.
    pub fn release(&mut self, grant: &Grant) {
        let index = self.index(grant.se, grant.sh, grant.cu);
        self.cus[index].give_back(&grant.needs, &grant.simds);
    }

    /// Waves on the device now.
    pub fn waves(&self) -> u32 {
        self.cus.iter().flat_map(|cu| &cu.simds).map(|s| s.waves).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::DeviceSpec;
    use std::collections::BTreeMap;

    const SMALL: Needs = Needs { waves: 1, vgprs: 24, sgprs: 32, lds_bytes: 0 };

    fn device() -> (Shape, Dispatcher) {
        let shape = DeviceSpec::mi50().shape;
        let dispatcher = Dispatcher::new(&shape);
        (shape, dispatcher)
    }

    #[test]
    fn engines_take_strict_turns_and_every_cu_is_used() {
        let (shape, mut device) = device();
        let mut turn = Turn::new(&CuMask::full(&shape));
        let grants: Vec<_> = (0..60).map(|_| device.place(&mut turn, &SMALL).unwrap()).collect();
        assert!(grants.iter().enumerate().all(|(i, g)| g.se == i as u32 % 4));
        let mut per_cu = BTreeMap::new();
        for g in &grants {
            *per_cu.entry((g.se, g.cu)).or_insert(0) += 1;
        }
        assert_eq!(per_cu.len(), 60);
        assert!(per_cu.values().all(|&n| n == 1));
    }

    #[test]
    fn an_unbalanced_mask_waits_for_its_small_engine() {
        // 15 CUs in SE 0 and one in SE 1: half of all workgroups must go through that one CU.
        let (shape, mut device) = device();
        let mask = CuMask::from_bits(&shape, &[0x1111_1113, 0x0111_1111]);
        assert_eq!(mask.cus_per_se(), [15, 1, 0, 0]);
        let mut turn = Turn::new(&mask);
        let mut counts = [0; 2];
        while let Some(g) = device.place(&mut turn, &SMALL) {
            counts[g.se as usize] += 1;
        }
        // SE 1's CU is full at 40 waves; SE 0 has 560 free slots and must wait all the same.
        assert_eq!(counts, [41, 40]);
    }

    #[test]
    fn occupancy_limits_are_those_of_the_resource_that_runs_out() {
        let (shape, device) = device();
        let mask = CuMask::from_bits(&shape, &[1]);
        for (needs, most) in [
            (SMALL, 40),
            (Needs { vgprs: 128, ..SMALL }, 8),
            (Needs { sgprs: 112, ..SMALL }, 28),
            (Needs { lds_bytes: 32768, ..SMALL }, 2),
            (Needs { waves: 2, ..SMALL }, 16),
            (Needs { waves: 16, vgprs: 64, ..SMALL }, 1),
        ] {
            let (mut device, mut turn) = (device.clone(), Turn::new(&mask));
            let placed = std::iter::from_fn(|| device.place(&mut turn, &needs)).count();
            assert_eq!(placed, most, "{needs:?}");
            assert_eq!(device.workgroups_per_cu(&needs), most as u32, "{needs:?}");
        }
        assert_eq!(device.workgroups_per_cu(&Needs { waves: 16, vgprs: 84, ..SMALL }), 0);
    }

    #[test]
    fn released_room_is_used_again() {
        let (shape, mut device) = device();
        let mut turn = Turn::new(&CuMask::from_bits(&shape, &[1]));
        let needs = Needs { lds_bytes: 65536, ..SMALL };
        let grant = device.place(&mut turn, &needs).unwrap();
        assert!(device.place(&mut turn, &needs).is_none());
        device.release(&grant);
        assert_eq!(device.waves(), 0);
        assert!(device.place(&mut turn, &needs).is_some());
    }

    #[test]
    fn an_empty_mask_places_nothing() {
        let (shape, mut device) = device();
        assert!(device.place(&mut Turn::new(&CuMask::from_bits(&shape, &[0])), &SMALL).is_none());
    }
}
