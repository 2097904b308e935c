//! mod_macro: `<Macro Name $a $b>` keeps lines, `Use Name x y` puts them in with the arguments in place of the parameters.

/// A macro.
#[derive(Clone, Debug)]
pub(super) struct Macro {
    /// The parameters as they are written, with their first character.
    pub(super) parameters: Vec<Vec<u8>>,
    /// The texts of its lines.
    pub(super) lines: Vec<Vec<u8>>,
}

impl Macro {
    /// Its lines with arguments in place of the parameters, as one text.
    pub(super) fn expand(&self, arguments: &[Vec<u8>]) -> Vec<u8> {
        // At one place the longest parameter counts, so that `$x` does not take the beginning of `$xy`.
        let mut order: Vec<(&[u8], &[u8])> =
            self.parameters.iter().map(Vec::as_slice).zip(arguments.iter().map(Vec::as_slice)).collect();
        order.sort_by_key(|(parameter, _)| std::cmp::Reverse(parameter.len()));
        let mut text = Vec::new();
        for line in &self.lines {
            let mut at = 0;
            while at < line.len() {
                match order.iter().find(|(parameter, _)| !parameter.is_empty() && line[at..].starts_with(parameter)) {
                    Some((parameter, argument)) => {
                        text.extend_from_slice(argument);
                        at += parameter.len();
                    }
                    None => {
                        text.push(line[at]);
                        at += 1;
                    }
                }
            }
            text.push(b'\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_parameter_counts() {
        let text = |text: &str| text.as_bytes().to_vec();
        let one = Macro { parameters: vec![text("$x"), text("$xy")], lines: vec![text("A $x $xy $z")] };
        assert_eq!(one.expand(&[text("1"), text("2")]), b"A 1 2 $z\n");
    }
}
