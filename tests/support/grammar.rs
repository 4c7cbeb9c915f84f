//! Matches lines against the ABNF of `protocol.md` (RFC 5234, with `%s` of RFC 7405), read from the
//! document itself.
//!
//! A rule is matched with sets of positions: for every start, all possible ends. So no grammar makes it slow.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// The rules by name.
pub struct Grammar(BTreeMap<String, Node>);

#[derive(Clone, Debug)]
enum Node {
    Any(Vec<Node>),
    Then(Vec<Node>),
    Repeat(usize, usize, Box<Node>),
    Text(String, Case),
    Range(u32, u32),
    Rule(String),
    Prose(String),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Case {
    Counts,
    Ignored,
}

/// Rules that RFC 5234 defines itself.
const CORE: &str = "SP = %x20\nCR = %x0D\nLF = %x0A\nDIGIT = %x30-39\nOCTET = %x00-FF\nHEXDIG = DIGIT / \"A\" / \"B\" / \"C\" / \"D\" / \"E\" / \"F\"\n";

impl Grammar {
    /// Parses rules. A line that begins with a space continues the line before.
    ///
    /// # Panics
    /// When a rule cannot be parsed, is defined twice, or refers to a rule that does not exist.
    pub fn parse(text: &str) -> Self {
        let mut rules: Vec<(String, String)> = Vec::new();
        for line in format!("{CORE}{text}").lines() {
            let line = without_comment(line);
            if line.trim().is_empty() {
                continue;
            }
            match (
                line.starts_with(' '),
                line.split_once('='),
                rules.last_mut(),
            ) {
                (true, _, Some((_, last))) => last.push_str(line),
                (false, Some((name, right)), _) => rules.push((name.trim().into(), right.into())),
                _ => panic!("no rule: {line}"),
            }
        }
        let mut all = BTreeMap::new();
        for (name, right) in rules {
            let mut reader = Reader(right.trim());
            let node = reader.any();
            assert!(reader.0.is_empty(), "{name}: cannot read {:?}", reader.0);
            assert!(all.insert(name.clone(), node).is_none(), "{name} twice");
        }
        let grammar = Self(all);
        grammar.0.values().for_each(|node| grammar.check(node));
        grammar
    }

    /// Panics when `node` refers to a rule that does not exist.
    fn check(&self, node: &Node) {
        match node {
            Node::Any(all) | Node::Then(all) => all.iter().for_each(|node| self.check(node)),
            Node::Repeat(_, _, node) => self.check(node),
            Node::Rule(name) => assert!(self.0.contains_key(name), "there is no rule {name}"),
            Node::Text(..) | Node::Range(..) | Node::Prose(_) => {}
        }
    }

    /// Returns whether the rule called `rule` matches all of `line`.
    pub fn matches(&self, rule: &str, line: &str) -> bool {
        let text: Vec<char> = line.chars().collect();
        let matcher = Matcher {
            rules: &self.0,
            text: &text,
            known: RefCell::default(),
        };
        matcher.rule(rule, 0).contains(&text.len())
    }
}

/// Returns `line` without a comment, which begins with a `;` outside of quotes and angle brackets.
fn without_comment(line: &str) -> &str {
    let mut inside = None;
    for (at, c) in line.char_indices() {
        match (inside, c) {
            (None, ';') => return &line[..at],
            (None, '"') => inside = Some('"'),
            (None, '<') => inside = Some('>'),
            (Some(end), c) if c == end => inside = None,
            _ => {}
        }
    }
    line
}

/// The unread rest of a rule.
struct Reader<'a>(&'a str);

impl Reader<'_> {
    fn skip(&mut self) {
        self.0 = self.0.trim_start();
    }

    fn takes(&mut self, c: char) -> bool {
        self.skip();
        let rest = self.0.strip_prefix(c);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn digits(&mut self) -> Option<usize> {
        let end = self
            .0
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        digits.parse().ok()
    }

    fn any(&mut self) -> Node {
        let mut all = vec![self.then()];
        while self.takes('/') {
            all.push(self.then());
        }
        Node::Any(all)
    }

    fn then(&mut self) -> Node {
        let mut all = Vec::new();
        loop {
            self.skip();
            if self.0.is_empty() || self.0.starts_with(['/', ')', ']']) {
                return Node::Then(all);
            }
            all.push(self.repeat());
        }
    }

    fn repeat(&mut self) -> Node {
        let least = self.digits();
        if self.0.starts_with('*') {
            self.0 = &self.0[1..];
            let most = self.digits().unwrap_or(usize::MAX);
            return Node::Repeat(least.unwrap_or(0), most, Box::new(self.one()));
        }
        match least {
            Some(count) => Node::Repeat(count, count, Box::new(self.one())),
            None => self.one(),
        }
    }

    fn until(&mut self, end: char) -> String {
        let (inner, rest) = self.0.split_once(end).expect("it ends");
        self.0 = rest;
        inner.into()
    }

    fn hex(&mut self) -> u32 {
        let end = self
            .0
            .find(|c: char| !c.is_ascii_hexdigit())
            .unwrap_or(self.0.len());
        let (digits, rest) = self.0.split_at(end);
        self.0 = rest;
        u32::from_str_radix(digits, 16).expect("a number after %x")
    }

    fn one(&mut self) -> Node {
        if self.takes('(') {
            let node = self.any();
            assert!(self.takes(')'), "( without ): {}", self.0);
            return node;
        }
        if self.takes('[') {
            let node = self.any();
            assert!(self.takes(']'), "[ without ]: {}", self.0);
            return Node::Repeat(0, 1, Box::new(node));
        }
        if self.takes('<') {
            return Node::Prose(self.until('>'));
        }
        if self.takes('"') {
            return Node::Text(self.until('"'), Case::Ignored);
        }
        if let Some(rest) = self.0.strip_prefix("%s\"") {
            self.0 = rest;
            return Node::Text(self.until('"'), Case::Counts);
        }
        if let Some(rest) = self.0.strip_prefix("%x") {
            self.0 = rest;
            let first = self.hex();
            if self.takes('-') {
                return Node::Range(first, self.hex());
            }
            let mut all = vec![Node::Range(first, first)];
            while self.takes('.') {
                let next = self.hex();
                all.push(Node::Range(next, next));
            }
            return Node::Then(all);
        }
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let end = self.0.find(|c: char| !is_name(c)).unwrap_or(self.0.len());
        assert!(end > 0, "cannot read {:?}", self.0);
        let (name, rest) = self.0.split_at(end);
        self.0 = rest;
        Node::Rule(name.into())
    }
}

type Ends = BTreeSet<usize>;

struct Matcher<'a> {
    rules: &'a BTreeMap<String, Node>,
    text: &'a [char],
    /// The possible ends of a rule, by its name and start.
    known: RefCell<HashMap<(&'a str, usize), Ends>>,
}

impl<'a> Matcher<'a> {
    fn rule(&self, name: &str, start: usize) -> Ends {
        let (name, node) = self.rules.get_key_value(name).expect("a rule of that name");
        if let Some(ends) = self.known.borrow().get(&(name.as_str(), start)) {
            return ends.clone();
        }
        let ends = self.ends(node, start);
        self.known.borrow_mut().insert((name, start), ends.clone());
        ends
    }

    fn ends(&self, node: &'a Node, start: usize) -> Ends {
        let next = self.text.get(start);
        let one = |fits: bool| fits.then_some(start + 1).into_iter().collect();
        match node {
            Node::Any(all) => all.iter().flat_map(|node| self.ends(node, start)).collect(),
            Node::Then(all) => all.iter().fold(Ends::from([start]), |from, node| {
                from.into_iter()
                    .flat_map(|start| self.ends(node, start))
                    .collect()
            }),
            Node::Repeat(least, most, node) => self.repeat(*least, *most, node, start),
            Node::Text(word, case) => {
                let fits = |(at, c): (usize, char)| {
                    self.text.get(start + at).is_some_and(|there| match case {
                        Case::Counts => *there == c,
                        Case::Ignored => there.eq_ignore_ascii_case(&c),
                    })
                };
                let is_there = word.chars().enumerate().all(fits);
                is_there
                    .then_some(start + word.chars().count())
                    .into_iter()
                    .collect()
            }
            Node::Range(first, last) => {
                one(next.is_some_and(|c| (*first..=*last).contains(&u32::from(*c))))
            }
            Node::Rule(name) => self.rule(name, start),
            Node::Prose(prose) => one(next.is_some_and(|c| fits_prose(prose, *c))),
        }
    }

    fn repeat(&self, least: usize, most: usize, node: &'a Node, start: usize) -> Ends {
        let mut from = Ends::from([start]);
        let mut all = if least == 0 {
            from.clone()
        } else {
            Ends::new()
        };
        let mut count = 0;
        while count < most && !from.is_empty() {
            count += 1;
            let ends: Ends = from
                .iter()
                .flat_map(|start| self.ends(node, *start))
                .collect();
            // Positions that were visited before lead nowhere new.
            from = if count > least {
                ends.difference(&all).copied().collect()
            } else {
                ends
            };
            if count >= least {
                all.extend(&from);
            }
        }
        all
    }
}

/// Returns whether `c` fits a description in words.
fn fits_prose(prose: &str, c: char) -> bool {
    match prose {
        "a character that Unicode calls Alphabetic" => c.is_alphabetic(),
        "a character of Unicode's category N" => c.is_numeric(),
        "a character of Unicode's category M" => unicode_normalization::char::is_combining_mark(c),
        _ => panic!("nobody knows what <{prose}> is"),
    }
}
