//! The date and time that `strftime_now` gives to templates.

/// A moment of the calendar, in whatever time zone the caller means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DateTime {
    year: i32,
    /// From 1.
    month: u8,
    /// From 1.
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Columns that a directive may ask for.
const MAX_WIDTH: usize = 100;

impl DateTime {
    /// Returns a day at midnight, or `None` if the calendar has no such day or `year` is not within 1..=9999.
    pub fn new(year: i32, month: u8, day: u8) -> Option<Self> {
        let sound = (1..=9999).contains(&year) && (1..=12).contains(&month) && (1..=days(year, month)).contains(&day);
        sound.then_some(DateTime { year, month, day, hour: 0, minute: 0, second: 0 })
    }

    /// Returns the same day at another time, or `None` if there is no such time. A second of 60 is a leap second.
    pub fn at(self, hour: u8, minute: u8, second: u8) -> Option<Self> {
        (hour < 24 && minute < 60 && second <= 60).then_some(DateTime { hour, minute, second, ..self })
    }

    /// Days since the year began, from 0.
    fn of_year(self) -> i64 {
        i64::from(self.day) - 1 + (1..self.month).map(|month| i64::from(days(self.year, month))).sum::<i64>()
    }

    /// Days since 0001-01-01, which was a Monday.
    fn ordinal(self) -> i64 {
        let years = i64::from(self.year) - 1;
        years * 365 + years / 4 - years / 100 + years / 400 + self.of_year()
    }

    /// From 0 for Sunday.
    fn weekday(self) -> i64 {
        (self.ordinal() + 1).rem_euclid(7)
    }

    /// Year and week of ISO 8601: weeks begin on Monday, and the first has the year's first Thursday.
    fn iso_week(self) -> (i64, i64) {
        let year = i64::from(self.year);
        let week = (self.of_year() - (self.weekday() + 6) % 7 + 10) / 7;
        let weeks = |year: i64| {
            let last = |year: i64| (year + year / 4 - year / 100 + year / 400).rem_euclid(7);
            if last(year) == 4 || last(year - 1) == 3 { 53 } else { 52 }
        };
        match week {
            0 => (year - 1, weeks(year - 1)),
            week if week > weeks(year) => (year + 1, 1),
            week => (year, week),
        }
    }

    /// Writes the moment as C's `strftime` does in the C locale, with the extensions of glibc that Python on Linux has:
    /// the flags `-`, `_`, `0`, `^` and `#`, and a width. A directive that is unknown stays as it is.
    pub(super) fn strftime(self, format: &str) -> String {
        let mut text = String::new();
        let mut rest = format;
        while let Some(at) = rest.find('%') {
            text.push_str(&rest[..at]);
            let directive = Directive::parse(&rest[at + 1..]);
            let written = directive.and_then(|(directive, len)| Some((directive.write(self)?, len)));
            match written {
                Some((written, len)) => {
                    text.push_str(&written);
                    rest = &rest[at + 1 + len..];
                }
                None => {
                    text.push('%');
                    rest = &rest[at + 1..];
                }
            }
        }
        text + rest
    }
}

fn days(year: i32, month: u8) -> u8 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Something that begins with `%`.
struct Directive {
    /// `-` for none, `_` for spaces, `0` for zeros.
    pad: Option<char>,
    upper: bool,
    /// `#`: the other case than usual.
    swap: bool,
    width: Option<usize>,
    letter: char,
}

impl Directive {
    /// Reads what follows a `%`, and tells its length.
    fn parse(text: &str) -> Option<(Self, usize)> {
        let mut directive = Directive { pad: None, upper: false, swap: false, width: None, letter: '%' };
        let mut chars = text.char_indices().peekable();
        while let Some((_, c)) = chars.next_if(|(_, c)| matches!(c, '-' | '_' | '0' | '^' | '#')) {
            match c {
                '^' => directive.upper = true,
                '#' => directive.swap = true,
                pad => directive.pad = Some(pad),
            }
        }
        while let Some((_, digit)) = chars.next_if(|(_, c)| c.is_ascii_digit()) {
            let width = directive.width.unwrap_or(0) * 10 + (digit as usize - '0' as usize);
            directive.width = Some(width.min(MAX_WIDTH));
        }
        // Other eras and digits, which the C locale has not.
        chars.next_if(|(_, c)| matches!(c, 'E' | 'O'));
        let (at, letter) = chars.next()?;
        directive.letter = letter;
        Some((directive, at + letter.len_utf8()))
    }

    fn write(&self, now: DateTime) -> Option<String> {
        let DateTime { year, month, day, hour, minute, second } = now;
        let weekday = now.weekday();
        let twelve = (hour + 11) % 12 + 1;
        let half = if hour < 12 { "AM" } else { "PM" };
        let month_name = MONTHS[usize::from(month) - 1];
        let weekday_name = WEEKDAYS[weekday as usize];
        let number = |value: i64, pad, width| Some(self.number(value, pad, width));
        let whole = |format: &str| Some(self.text(&now.strftime(format)));
        match self.letter {
            'Y' => number(year.into(), '0', 1),
            'C' => number((year / 100).into(), '0', 2),
            'y' => number((year % 100).into(), '0', 2),
            'm' => number(month.into(), '0', 2),
            'd' => number(day.into(), '0', 2),
            'e' => number(day.into(), '_', 2),
            'H' => number(hour.into(), '0', 2),
            'k' => number(hour.into(), '_', 2),
            'I' => number(twelve.into(), '0', 2),
            'l' => number(twelve.into(), '_', 2),
            'M' => number(minute.into(), '0', 2),
            'S' => number(second.into(), '0', 2),
            'j' => number(now.of_year() + 1, '0', 3),
            'u' => number((weekday + 6) % 7 + 1, '0', 1),
            'w' => number(weekday, '0', 1),
            'U' => number((now.of_year() + 7 - weekday) / 7, '0', 2),
            'W' => number((now.of_year() + 7 - (weekday + 6) % 7) / 7, '0', 2),
            'V' => number(now.iso_week().1, '0', 2),
            'G' => number(now.iso_week().0, '0', 1),
            'g' => number(now.iso_week().0 % 100, '0', 2),
            's' => {
                let days = now.ordinal() - 719_162;
                number(days * 86_400 + i64::from(hour) * 3600 + i64::from(minute) * 60 + i64::from(second), '0', 1)
            }
            'B' => Some(self.text(month_name)),
            'b' | 'h' => Some(self.text(&month_name[..3])),
            'A' => Some(self.text(weekday_name)),
            'a' => Some(self.text(&weekday_name[..3])),
            'p' if self.swap => Some(self.text(&half.to_lowercase())),
            'p' => Some(self.text(half)),
            'P' => Some(self.text(&half.to_lowercase())),
            'c' => whole("%a %b %e %H:%M:%S %Y"),
            'x' | 'D' => whole("%m/%d/%y"),
            'X' | 'T' => whole("%H:%M:%S"),
            'r' => whole("%I:%M:%S %p"),
            'R' => whole("%H:%M"),
            'F' => whole("%Y-%m-%d"),
            'f' => Some("000000".into()),
            // A moment without a time zone names none.
            'z' | 'Z' => Some(String::new()),
            'n' => Some("\n".into()),
            't' => Some("\t".into()),
            '%' => Some("%".into()),
            _ => None,
        }
    }

    fn number(&self, value: i64, pad: char, width: usize) -> String {
        let width = self.width.unwrap_or(width);
        match self.pad.unwrap_or(pad) {
            '-' => value.to_string(),
            '_' => format!("{value:width$}"),
            _ => format!("{value:0width$}"),
        }
    }

    fn text(&self, text: &str) -> String {
        let upper = self.upper || (self.swap && !matches!(self.letter, 'p' | 'P'));
        let text = if upper { text.to_uppercase() } else { text.into() };
        let width = self.width.unwrap_or(0);
        if self.pad == Some('0') { format!("{text:0>width$}") } else { format!("{text:>width$}") }
    }
}
