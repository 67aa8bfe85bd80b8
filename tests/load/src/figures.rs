//! Statistics of what was measured.

use serde_json::{Value, json};

/// Measured times of one thing, in milliseconds.
#[derive(Debug, Clone, Default)]
pub struct Series {
    /// What was measured.
    pub name: String,
    /// Each time.
    pub ms: Vec<f64>,
}

impl Series {
    /// Nothing measured yet.
    pub fn of(name: &str) -> Series {
        Series { name: name.to_owned(), ms: Vec::new() }
    }

    /// The smallest value that `share` of all do not exceed; none of nothing.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let mut sorted = self.ms.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (share * sorted.len() as f64).ceil() as usize;
        (!sorted.is_empty()).then(|| sorted[rank.clamp(1, sorted.len()) - 1])
    }

    /// One line of a table: median, 99 of 100, least, and how many.
    pub fn line(&self) -> String {
        let [p50, p99, min] = [0.5, 0.99, 0.0].map(|share| self.quantile(share).unwrap_or(f64::NAN));
        format!("{:<36} {p50:>9.3} {p99:>9.3} {min:>9.3} {:>7}", self.name, self.ms.len())
    }

    /// As JSON.
    pub fn json(&self) -> Value {
        json!({
            "p50_ms": self.quantile(0.5), "p99_ms": self.quantile(0.99), "min_ms": self.quantile(0.0),
            "max_ms": self.quantile(1.0), "count": self.ms.len(), "ms": self.ms,
        })
    }
}

/// The head of a table of [`Series::line`]s.
pub fn heading(title: &str) -> String {
    format!("\n{title:<36} {:>9} {:>9} {:>9} {:>7}", "p50 ms", "p99 ms", "min ms", "count")
}

/// A straight line through points.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Line {
    /// How much `y` grows when `x` grows by one.
    pub slope: f64,
    /// The share of the spread of `y` that the line explains.
    pub fit: f64,
}

/// The line with the least squares; none if all `x` are the same.
pub fn line(points: &[(f64, f64)]) -> Option<Line> {
    let count = points.len() as f64;
    let mean = |pick: fn(&(f64, f64)) -> f64| points.iter().map(pick).sum::<f64>() / count;
    let (mean_x, mean_y) = (mean(|point| point.0), mean(|point| point.1));
    let [mut xx, mut xy, mut yy] = [0.0; 3];
    for (x, y) in points {
        xx += (x - mean_x).powi(2);
        xy += (x - mean_x) * (y - mean_y);
        yy += (y - mean_y).powi(2);
    }
    (xx > 0.0).then(|| Line { slope: xy / xx, fit: if yy > 0.0 { xy * xy / (xx * yy) } else { 1.0 } })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_measured() {
        let series = Series { name: String::new(), ms: vec![3.0, 1.0, 2.0, 4.0] };
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|share| series.quantile(share)), [1.0, 2.0, 4.0, 4.0].map(Some));
        assert_eq!(Series::default().quantile(0.5), None);
    }

    #[test]
    fn a_line_through_points_on_a_line_is_that_line() {
        let points: Vec<(f64, f64)> = (0..10).map(|x| (f64::from(x), 5.0 - 1.5 * f64::from(x))).collect();
        let line = line(&points).unwrap();
        assert!((line.slope + 1.5).abs() < 1e-9 && (line.fit - 1.0).abs() < 1e-9);
        assert_eq!(super::line(&[(1.0, 2.0), (1.0, 3.0)]), None);
    }
}
