//! What may follow the colon in `{name:…}`: Python's format specification, for texts and whole
//! numbers (Python library reference, "Format Specification Mini-Language").

/// The widest a value may be made; Python knows no limit.
const MAX_WIDTH: usize = 4096;

/// A specification, read.
#[derive(Debug, Default)]
pub(super) struct Spec {
    fill: Option<char>,
    align: Option<char>,
    sign: Option<char>,
    alternate: bool,
    zero: bool,
    width: usize,
    group: Option<char>,
    precision: Option<usize>,
    kind: Option<char>,
}

impl Spec {
    /// Reads one; `None` when it is none, or asks for too much.
    pub fn parse(text: &str) -> Option<Spec> {
        let chars: Vec<char> = text.chars().collect();
        let mut spec = Spec::default();
        let mut at = 0;
        let peek = |at: usize| chars.get(at).copied();
        let is_align = |c: Option<char>| c.is_some_and(|c| "<>=^".contains(c));
        if is_align(peek(1)) {
            (spec.fill, spec.align, at) = (peek(0), peek(1), 2);
        } else if is_align(peek(0)) {
            (spec.align, at) = (peek(0), 1);
        }
        if let Some(sign @ ('+' | '-' | ' ')) = peek(at) {
            (spec.sign, at) = (Some(sign), at + 1);
        }
        if peek(at) == Some('#') {
            (spec.alternate, at) = (true, at + 1);
        }
        if peek(at) == Some('0') {
            (spec.zero, at) = (true, at + 1);
        }
        spec.width = number(&chars, &mut at)?.unwrap_or(0);
        if let Some(group @ (',' | '_')) = peek(at) {
            (spec.group, at) = (Some(group), at + 1);
        }
        if peek(at) == Some('.') {
            at += 1;
            spec.precision = Some(number(&chars, &mut at)??);
        }
        if let Some(kind) = peek(at) {
            (spec.kind, at) = (Some(kind), at + 1);
        }
        (at == chars.len()).then_some(spec)
    }

    /// A text; `None` when the specification is none for texts.
    pub fn text(&self, text: &str) -> Option<String> {
        let kind = matches!(self.kind, None | Some('s'));
        if !kind || self.sign.is_some() || self.alternate || self.group.is_some() {
            return None;
        }
        if self.align == Some('=') {
            return None;
        }
        let cut: String = text.chars().take(self.precision.unwrap_or(usize::MAX)).collect();
        Some(self.pad("", &cut, '<'))
    }

    /// A whole number; `None` when the specification is none for whole numbers.
    pub fn number(&self, number: i64) -> Option<String> {
        if self.precision.is_some() {
            return None;
        }
        let size = number.unsigned_abs();
        let (prefix, digits) = match self.kind {
            None | Some('d' | 'n') => ("", size.to_string()),
            Some('b') => ("0b", format!("{size:b}")),
            Some('o') => ("0o", format!("{size:o}")),
            Some('x') => ("0x", format!("{size:x}")),
            Some('X') => ("0X", format!("{size:X}")),
            Some(_) => return None,
        };
        let each = if matches!(self.kind, None | Some('d')) { 3 } else { 4 };
        let digits = match self.group {
            Some(',') if each != 3 => return None,
            Some(group) => grouped(&digits, each, group),
            None => digits,
        };
        let sign = match (number < 0, self.sign) {
            (true, _) => "-",
            (false, Some('+')) => "+",
            (false, Some(' ')) => " ",
            _ => "",
        };
        let prefix = if self.alternate { prefix } else { "" };
        Some(self.pad(&format!("{sign}{prefix}"), &digits, '>'))
    }

    fn pad(&self, before: &str, body: &str, usual: char) -> String {
        let missing = self.width.saturating_sub(before.chars().count() + body.chars().count());
        let zero_number = self.zero && usual == '>' && self.align.is_none();
        let align = if zero_number { '=' } else { self.align.unwrap_or(usual) };
        let fill = self.fill.unwrap_or(if self.zero { '0' } else { ' ' });
        let run = |n: usize| String::from_iter(std::iter::repeat_n(fill, n));
        match align {
            '<' => format!("{before}{body}{}", run(missing)),
            '=' => format!("{before}{}{body}", run(missing)),
            '^' => format!("{}{before}{body}{}", run(missing / 2), run(missing - missing / 2)),
            _ => format!("{}{before}{body}", run(missing)),
        }
    }
}

/// Digits at this place: `Some(None)` = there are none, `None` = too great a number.
fn number(chars: &[char], at: &mut usize) -> Option<Option<usize>> {
    let digits: String = chars.iter().skip(*at).take_while(|c| c.is_ascii_digit()).collect();
    *at += digits.len();
    if digits.is_empty() {
        return Some(None);
    }
    digits.parse().ok().filter(|n| *n <= MAX_WIDTH).map(Some)
}

fn grouped(digits: &str, each: usize, group: char) -> String {
    let mut out = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(each) {
            out.push(group);
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_python_does() {
        for (spec, value, want) in [
            ("", "ab", Some("ab")),
            (">4", "ab", Some("  ab")),
            ("*^5", "ab", Some("*ab**")),
            (".1", "äb", Some("ä")),
            ("4s", "ab", Some("ab  ")),
            ("d", "ab", None),
            ("=4", "ab", None),
            ("99999", "ab", None),
        ] {
            let got = Spec::parse(spec).and_then(|spec| spec.text(value));
            assert_eq!(got.as_deref(), want, "{spec}");
        }
        for (spec, value, want) in [
            ("", 80, Some("80")),
            ("05d", 80, Some("00080")),
            ("05", -80, Some("-0080")),
            ("x", 255, Some("ff")),
            ("#X", 255, Some("0XFF")),
            (",", 1_234_567, Some("1,234,567")),
            ("<4", 80, Some("80  ")),
            ("+", 80, Some("+80")),
            (".2", 80, None),
            ("s", 80, None),
            ("_x", 0x1_0000, Some("1_0000")),
        ] {
            let got = Spec::parse(spec).and_then(|spec| spec.number(value));
            assert_eq!(got.as_deref(), want, "{spec}");
        }
    }
}
