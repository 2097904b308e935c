//! How the times of one phase are spread.

/// The number of buckets: 16 octaves of 4 from 1 ms to 65 536 ms, and what is longer.
pub(crate) const BUCKETS: usize = 65;

/// The bucket of a time in microseconds. What is below a millisecond is in the first.
pub(crate) fn bucket(time: u64) -> usize {
    let Some(octave) = (time / 1000).checked_ilog2() else { return 0 };
    if octave >= 16 {
        return BUCKETS - 1;
    }
    let lowest = 1000u64 << octave;
    octave as usize * 4 + usize::try_from((time - lowest) * 4 / lowest).unwrap_or(3)
}

/// The times of one phase in a window.
#[derive(Clone, Debug)]
pub(crate) struct Phase {
    /// Microseconds.
    pub(crate) sum: u64,
    pub(crate) samples: u64,
    pub(crate) least: u64,
    pub(crate) most: u64,
    pub(crate) buckets: [u32; BUCKETS],
}

impl Default for Phase {
    fn default() -> Self {
        Self { sum: 0, samples: 0, least: u64::MAX, most: 0, buckets: [0; BUCKETS] }
    }
}

impl Phase {
    /// Counts a time in microseconds.
    pub(crate) fn count(&mut self, time: u64) {
        self.sum += time;
        self.samples += 1;
        self.least = self.least.min(time);
        self.most = self.most.max(time);
        self.buckets[bucket(time)] += 1;
    }

    /// Adds what another thread has counted.
    pub(crate) fn add(&mut self, other: &Self) {
        self.sum += other.sum;
        self.samples += other.samples;
        self.least = self.least.min(other.least);
        self.most = self.most.max(other.most);
        for (own, more) in self.buckets.iter_mut().zip(&other.buckets) {
            *own += more;
        }
    }

    /// The mean in seconds, 0 without samples.
    pub(crate) fn mean(&self) -> f64 {
        if self.samples == 0 {
            return 0.0;
        }
        #[expect(clippy::cast_precision_loss, reason = "sums of a window stay far below 2^53 microseconds")]
        let (sum, samples) = (self.sum as f64, self.samples as f64);
        sum / 1e6 / samples
    }

    /// The least and the most in microseconds, when there are samples.
    pub(crate) fn extremes(&self) -> Option<(u64, u64)> {
        (self.samples > 0).then_some((self.least, self.most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_fall_into_quarters_of_octaves() {
        let cases = [
            (0, 0),
            (999, 0),
            (1_000, 0),
            (1_249, 0),
            (1_250, 1),
            (1_999, 3),
            (2_000, 4),
            (2_071, 4),
            (50_600, 22),
            (65_535_999, 63),
            (65_536_000, 64),
            (u64::MAX, 64),
        ];
        for (time, expected) in cases {
            assert_eq!(bucket(time), expected, "{time} µs");
        }
    }

    #[test]
    fn phases_add_up() {
        let (mut one, mut other) = (Phase::default(), Phase::default());
        assert_eq!((one.mean(), one.extremes()), (0.0, None));
        one.count(1_000_000);
        other.count(500);
        other.count(499_500);
        one.add(&other);
        assert_eq!((one.mean(), one.extremes()), (0.5, Some((500, 1_000_000))));
        assert_eq!(one.buckets.iter().sum::<u32>(), 3);
        one.add(&Phase::default());
        assert_eq!(one.extremes(), Some((500, 1_000_000)));
    }
}
