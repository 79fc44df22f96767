//! How memory shares its bandwidth among kernels.

/// What one kernel would like to move, and the waves with which it asks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    /// Bytes a ns.
    pub demand: f64,
    /// Resident waves.
    pub waves: f64,
}

/// Bytes a ns that memory gives when `demand` is asked for.
pub(crate) fn delivered(demand: f64, bandwidth: f64, knee: f64) -> f64 {
    if demand <= 0.0 {
        return 0.0;
    }
    let ratio = demand / bandwidth;
    // Far beyond the knee the power would overflow.
    if ratio > 1e6 { bandwidth } else { demand / (1.0 + ratio.powf(knee)).powf(1.0 / knee) }
}

/// The share of its demand that each claim is granted, written to `grants`: each wave may have as many bytes as any other, and
/// what a kernel does not want goes to the rest.
pub(crate) fn share(claims: &[Claim], bandwidth: f64, knee: f64, grants: &mut Vec<f64>) {
    grants.clear();
    let demand: f64 = claims.iter().map(|claim| claim.demand).sum();
    let supply = delivered(demand, bandwidth, knee);
    // Bytes a ns for each wave, raised until supply is used up. The level only rises: one round for each claim at most.
    let mut level = 0.0;
    for _ in 0..=claims.len() {
        let (mut left, mut waves) = (supply, 0.0);
        for claim in claims {
            if claim.demand <= level * claim.waves {
                left -= claim.demand;
            } else {
                waves += claim.waves;
            }
        }
        let next = left / waves;
        if waves == 0.0 || next <= level {
            break;
        }
        level = next;
    }
    let grant = |claim: &Claim| {
        if claim.demand > 0.0 { (level * claim.waves / claim.demand).min(1.0) } else { 1.0 }
    };
    grants.extend(claims.iter().map(grant));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn exactly_what_memory_delivers_is_shared(
            claims in prop::collection::vec((0.0..3000.0f64, 1.0..500.0f64), 1..6), knee in 1.0..12.0f64
        ) {
            let claims: Vec<Claim> = claims.into_iter().map(|(demand, waves)| Claim { demand, waves }).collect();
            let mut grants = Vec::new();
            share(&claims, 1000.0, knee, &mut grants);
            let given: f64 = claims.iter().zip(&grants).map(|(claim, grant)| claim.demand * grant).sum();
            let demand: f64 = claims.iter().map(|claim| claim.demand).sum();
            prop_assert!((given - delivered(demand, 1000.0, knee)).abs() < 1e-6 * given.max(1.0));
            prop_assert!(given <= 1000.0 + 1e-6 && given <= demand + 1e-6);
            // No one is cut below another's share for each wave.
            for (a, grant) in claims.iter().zip(&grants) {
                for (b, other) in claims.iter().zip(&grants) {
                    if *grant < 1.0 {
                        prop_assert!(a.demand * grant / a.waves >= b.demand * other / b.waves - 1e-6);
                    }
                }
            }
        }
    }
}
