//! The market itself: a random walk per symbol in plain arithmetic, so that it gives the same
//! bits on every machine.

/// What distinguishes one market from another.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) symbols: Vec<String>,
    pub(super) seed: u64,
    /// Rows per second of event time.
    pub(super) rate: u64,
    pub(super) late: f64,
    pub(super) duplicate: f64,
    /// Rows of a symbol from one anomaly to the next.
    pub(super) anomaly: u64,
}

/// One trade.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Tick {
    pub(super) symbol: u32,
    pub(super) buy: bool,
    pub(super) id: i64,
    /// Event time in nanoseconds.
    pub(super) time: i64,
    pub(super) price: f64,
    pub(super) volume: i64,
    pub(super) open: f64,
    pub(super) high: f64,
    pub(super) low: f64,
    /// Half the spread.
    pub(super) half_spread: f64,
    pub(super) shares: f64,
    pub(super) earnings: f64,
    pub(super) dividend: f64,
}

/// A symbol as it stands.
#[derive(Debug, Clone)]
struct Instrument {
    level: f64,
    price: f64,
    open: f64,
    high: f64,
    low: f64,
    day: i64,
    rows: u64,
    until_anomaly: u64,
    burst: u32,
    round_the_clock: bool,
    shares: f64,
    earnings: f64,
    dividend: f64,
}

/// The rows of a market, one after the other.
#[derive(Debug, Clone)]
pub(super) struct Simulator {
    names: Vec<String>,
    instruments: Vec<Instrument>,
    seed: u64,
    row: i64,
    time: i64,
    /// Whole nanoseconds between rows, what is left over, and what has gathered of it.
    step: (i64, u64, u64),
    rate: u64,
    late: u64,
    duplicate: u64,
    anomaly: u64,
    last: Option<Tick>,
}

const DAY: i64 = crate::instant::DAY;
/// The US session, in nanoseconds of the day.
const SESSION: (i64, i64) = (52_200_000_000_000, 75_600_000_000_000);

/// 64 bits that look random, from a number (the finaliser of `SplitMix64`).
fn mix(number: u64) -> u64 {
    let mut bits = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// A part from 0 to 1 as a threshold for 32 random bits.
fn threshold(ratio: f64) -> u64 {
    (ratio * 4_294_967_296.0) as u64
}

/// A price in whole ticks of 0.01.
fn to_tick(price: f64) -> f64 {
    (price * 100.0 + 0.5) as i64 as f64 / 100.0
}

impl Instrument {
    fn new(name: &str, seed: u64) -> Self {
        let named = name
            .bytes()
            .fold(seed, |hash, byte| mix(hash ^ u64::from(byte)));
        let part = |bits: u64| (bits & 0xffff) as f64 / 65_536.0;
        let level = match name {
            "AAPL" => 185.0,
            "GOOGL" => 140.0,
            "MSFT" => 372.0,
            "TSLA" => 248.0,
            "AMZN" => 150.0,
            "BTC-USD" => 45_000.0,
            "ETH-USD" => 2_350.0,
            _ => 10.0 + 490.0 * part(named),
        };
        let level = to_tick(level);
        Self {
            level,
            price: level,
            open: level,
            high: level,
            low: level,
            day: i64::MIN,
            rows: 0,
            until_anomaly: 0,
            burst: 0,
            round_the_clock: name.contains('-'),
            shares: 1e8 + 1.5e10 * part(named >> 16),
            earnings: level / (8.0 + 40.0 * part(named >> 32)),
            dividend: level * 0.04 * part(named >> 48),
        }
    }

    /// How busy the hour is: 1 on average in the session, high at its ends.
    fn activity(&self, time: i64) -> f64 {
        let of_day = time.rem_euclid(DAY);
        if self.round_the_clock {
            return 1.0;
        }
        if of_day < SESSION.0 || of_day >= SESSION.1 {
            return 0.1;
        }
        let part = (of_day - SESSION.0) as f64 / (SESSION.1 - SESSION.0) as f64;
        let from_noon = 2.0 * part - 1.0;
        0.5 + 1.5 * from_noon * from_noon
    }

    /// The next trade's price and volume.
    fn trade(&mut self, bits: u64, time: i64, anomaly: u64) -> (f64, i64) {
        let calm = self.walk(bits, time);
        let second = mix(bits);
        let size =
            ((second & 0xff) + ((second >> 8) & 0xff) * ((second >> 16) & 0xff) / 64 + 1) as f64;
        let mut volume = size * self.activity(time) * if calm { 1.0 } else { 5.0 };
        let mut price = self.quote();
        if let Some(factor) = self.anomaly(anomaly) {
            price = to_tick(price * factor).max(0.01);
            volume = volume.max(100.0) * 20.0;
        }
        self.widen(price);
        (price, (volume as i64).max(1))
    }

    /// A trade of which only what later ones depend on is wanted.
    fn pass(&mut self, bits: u64, time: i64, anomaly: u64) {
        self.walk(bits, time);
        if let Some(factor) = self.anomaly(anomaly) {
            self.widen(to_tick(self.quote() * factor).max(0.01));
        } else if self.price > self.high || self.price < self.low {
            // Rounding keeps the order, and both bounds are whole ticks: a price within them
            // stays within when it is rounded.
            self.widen(self.quote());
        }
    }

    /// Moves the price; says whether the market is calm.
    fn walk(&mut self, bits: u64, time: i64) -> bool {
        let day = time.div_euclid(DAY);
        if day != self.day {
            (self.day, self.open) = (day, to_tick(self.price));
            (self.high, self.low) = (self.open, self.open);
        }
        if self.burst > 0 {
            self.burst -= 1;
        } else if bits >> 53 == 0 {
            self.burst = 100 + (bits & 0xff) as u32;
        }
        let calm = self.burst == 0;
        // The sum of four uniform numbers is normal enough, and exact.
        let quarters = (bits & 0xffff) + ((bits >> 16) & 0xffff) + ((bits >> 32) & 0xffff);
        let normal = (quarters + (bits >> 48)) as f64 / 65_536.0 - 2.0;
        let volatility = if calm { 4e-4 } else { 1.6e-3 };
        let pull = 2e-5 * (self.level - self.price) / self.level;
        self.price *= 1.0 + volatility * normal + pull;
        calm
    }

    /// The price as it is traded at.
    fn quote(&self) -> f64 {
        to_tick(self.price).max(0.01)
    }

    /// Counts a row; where it is an anomaly, by how much its price is off.
    fn anomaly(&mut self, every: u64) -> Option<f64> {
        self.until_anomaly += 1;
        self.rows += 1;
        if self.until_anomaly != every {
            return None;
        }
        self.until_anomaly = 0;
        Some(if self.rows / every % 2 == 1 {
            1.05
        } else {
            0.95
        })
    }

    /// Takes a price into the day's range.
    fn widen(&mut self, price: f64) {
        self.high = self.high.max(price);
        self.low = self.low.min(price);
    }
}

impl Simulator {
    pub(super) fn new(settings: &Settings, start: i64) -> Self {
        let seed = mix(settings.seed);
        Self {
            instruments: settings
                .symbols
                .iter()
                .map(|name| Instrument::new(name, seed))
                .collect(),
            names: settings.symbols.clone(),
            seed,
            row: 0,
            time: start,
            step: (
                (1_000_000_000 / settings.rate) as i64,
                1_000_000_000 % settings.rate,
                0,
            ),
            rate: settings.rate,
            late: threshold(settings.late),
            duplicate: threshold(settings.duplicate),
            anomaly: settings.anomaly,
            last: None,
        }
    }

    /// The number of the next row.
    pub(super) fn row(&self) -> i64 {
        self.row
    }

    /// The names of the symbols.
    pub(super) fn symbols(&self) -> &[String] {
        &self.names
    }

    /// Leaves out the rows before `row`: they are simulated, but only as far as later ones depend
    /// on them.
    pub(super) fn skip_to(&mut self, row: i64) {
        // A duplicate repeats the last row that is none: that one is built.
        let is_last = |of: &i64| !self.repeats(*of, mix(self.seed ^ *of as u64));
        if let Some(last) = (self.row..row).rev().find(is_last) {
            while self.row < last {
                self.pass();
            }
            self.next();
        }
        while self.row < row {
            self.advance();
        }
    }

    /// Leaves out a row.
    fn pass(&mut self) {
        let (row, time) = self.advance();
        let bits = mix(self.seed ^ row as u64);
        if !self.repeats(row, bits) {
            let symbol = self.symbol(bits);
            self.instruments[symbol].pass(mix(bits), time, self.anomaly);
        }
    }

    /// The number and the time of the next row, which is then behind.
    fn advance(&mut self) -> (i64, i64) {
        let (row, time) = (self.row, self.time);
        self.row += 1;
        self.time = self.time.wrapping_add(self.step.0);
        self.step.2 += self.step.1;
        if self.step.2 >= self.rate {
            self.step.2 -= self.rate;
            self.time = self.time.wrapping_add(1);
        }
        (row, time)
    }

    /// What happens to a row besides its trade.
    fn fate(&self, bits: u64) -> u64 {
        mix(bits ^ self.seed)
    }

    /// Whether a row repeats the one before.
    fn repeats(&self, row: i64, bits: u64) -> bool {
        self.duplicate > 0 && row > 0 && self.fate(bits) & 0xffff_ffff < self.duplicate
    }

    fn symbol(&self, bits: u64) -> usize {
        // The high half of the product spreads 64 bits over the symbols evenly.
        ((u128::from(bits) * self.instruments.len() as u128) >> 64) as usize
    }

    /// The next row.
    #[inline]
    pub(super) fn next(&mut self) -> Tick {
        let (row, time) = self.advance();
        let bits = mix(self.seed ^ row as u64);
        if let Some(last) = self.last.filter(|_| self.repeats(row, bits)) {
            return last;
        }
        let fate = self.fate(bits);
        let symbol = self.symbol(bits);
        let instrument = &mut self.instruments[symbol];
        let (price, volume) = instrument.trade(mix(bits), time, self.anomaly);
        let late = fate >> 32 < self.late;
        let back = if late {
            5_000_000_000 + (bits % 25_000_000_000) as i64
        } else {
            0
        };
        let tick = Tick {
            symbol: symbol as u32,
            buy: fate & (1 << 20) == 0,
            id: row,
            time: time.wrapping_sub(back),
            price,
            volume,
            open: instrument.open,
            high: instrument.high,
            low: instrument.low,
            half_spread: 0.01 * (1 + (fate >> 60)) as f64,
            shares: instrument.shares,
            earnings: instrument.earnings,
            dividend: instrument.dividend,
        };
        self.last = Some(tick);
        tick
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_left_out_change_none_that_follow() {
        let plain = Settings {
            symbols: ["A", "B-C", "D"].map(str::to_owned).to_vec(),
            seed: 7,
            // A day is 8,640 rows.
            rate: 10,
            late: 0.0,
            duplicate: 0.0,
            anomaly: u64::MAX,
        };
        let odd = Settings {
            rate: 7,
            late: 0.1,
            duplicate: 0.3,
            anomaly: 50,
            ..plain.clone()
        };
        let always = Settings {
            duplicate: 1.0,
            ..plain.clone()
        };
        for settings in [plain, odd, always] {
            let mut all = Simulator::new(&settings, 1_704_205_800_000_000_000);
            let rows: Vec<Tick> = (0..30_000).map(|_| all.next()).collect();
            for stops in [vec![1, 2, 5, 8_000], vec![29_000], vec![17, 18, 20_003]] {
                let mut some = Simulator::new(&settings, 1_704_205_800_000_000_000);
                for stop in stops {
                    some.skip_to(stop);
                    assert_eq!(some.row(), stop);
                    assert_eq!(some.next(), rows[stop as usize], "{settings:?}, row {stop}");
                }
                let from = some.row() as usize;
                let rest: Vec<Tick> = rows[from..].iter().map(|_| some.next()).collect();
                assert!(rest == rows[from..], "{settings:?}, after row {from}");
            }
        }
    }
}
