//! The time that `%date:…%` shows.

/// A local time, as the caller's calendar has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// All digits.
    pub year: i32,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 60.
    pub second: u32,
}

impl Clock {
    /// Fills in `yyyy`, `yy`, and `M`, `d`, `h`, `m`, `s` (doubled: at least two digits); the rest
    /// of the format stays.
    pub fn format(&self, format: &str) -> String {
        let mut out = String::new();
        let mut rest = format;
        while let Some(c) = rest.chars().next() {
            let run = rest.chars().take_while(|next| *next == c).count();
            let (taken, text) = match (c, self.part(c)) {
                ('y', _) if run >= 4 => (4, self.year.to_string()),
                ('y', _) if run == 3 => (3, "yyy".to_owned()),
                ('y', _) if run == 2 => (2, format!("{:02}", self.year.rem_euclid(100))),
                (_, Some(value)) if run >= 2 => (2, format!("{value:02}")),
                (_, Some(value)) => (1, value.to_string()),
                (c, None) => (c.len_utf8(), c.to_string()),
            };
            out.push_str(&text);
            rest = &rest[taken..];
        }
        out
    }

    fn part(&self, letter: char) -> Option<u32> {
        Some(match letter {
            'M' => self.month,
            'd' => self.day,
            'h' => self.hour,
            'm' => self.minute,
            's' => self.second,
            _ => return None,
        })
    }
}
