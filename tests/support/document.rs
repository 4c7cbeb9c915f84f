//! Reads transcripts from the fenced blocks of `protocol.md` and of the documents beside it, and from the vectors beside
//! the suite.

use std::path::{Path, PathBuf};

use super::transcript::Transcript;

/// A numbered section of the document: its own text, without that of its subsections.
pub struct Section {
    /// `4.2`
    pub number: String,
    pub title: String,
    /// The text of the section with its title. It has single spaces, so that a quotation may extend over several
    /// lines.
    pub text: String,
}

/// The document, divided into sections and blocks.
pub struct Document {
    /// The name of its file.
    pub file: String,
    pub sections: Vec<Section>,
    pub transcripts: Vec<Transcript>,
    /// The console blocks: the line where each begins, and its lines.
    pub consoles: Vec<(usize, String)>,
}

/// The labels that a fenced block may have. Any other label is an error, because a transcript with a misspelled label
/// would never be played.
const LABELS: &[&str] = &["chat", "console", "abnf", "sh", "python", "text"];

/// Returns the project's top folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// Reads `protocol.md`.
///
/// # Errors
/// Names the line that is wrong.
pub fn protocol_md() -> Result<Document, String> {
    let text = std::fs::read_to_string(root().join("protocol.md")).map_err(|e| e.to_string())?;
    Document::parse("protocol.md", &text)
}

/// The documents that describe a part of the protocol, or the server. Each numbers its sections from 1.
pub const OTHERS: [&str; 5] = ["http.md", "hooks.md", "irc.md", "shell.md", "chatd.md"];

/// Reads one of [`OTHERS`]; its transcripts have ids that begin with its name.
///
/// # Errors
/// Names the line that is wrong.
pub fn other(file: &str) -> Result<Document, String> {
    let text = std::fs::read_to_string(root().join(file)).map_err(|e| format!("{file}: {e}"))?;
    let mut document = Document::parse(file, &text)?;
    for transcript in &mut document.transcripts {
        transcript.id = format!("{file} {}", transcript.id);
    }
    Ok(document)
}

/// Reads all transcripts in lines of the protocol: those of the documents and the vectors, but not those of `irc.md`.
///
/// # Errors
/// Names the line that is wrong.
pub fn transcripts() -> Result<Vec<Transcript>, String> {
    let document = protocol_md()?;
    let mut all = vectors(&document)?;
    all.extend(document.transcripts);
    for file in OTHERS.iter().filter(|file| **file != "irc.md") {
        all.extend(other(file)?.transcripts);
    }
    Ok(all)
}

/// Returns the client of section 1.1.
///
/// # Errors
/// The document cannot be read, or has no such client.
pub fn first_client() -> Result<String, String> {
    let text = std::fs::read_to_string(root().join("protocol.md")).map_err(|e| e.to_string())?;
    let source = text
        .split_once("```python\n")
        .and_then(|(_, after)| after.split_once("```"));
    Ok(source.ok_or("protocol.md has no client")?.0.to_owned())
}

impl Document {
    /// Parses a document from Markdown.
    ///
    /// # Errors
    /// Names the line that is wrong.
    pub fn parse(file: &str, text: &str) -> Result<Self, String> {
        let mut document = Self {
            file: file.to_owned(),
            sections: Vec::new(),
            transcripts: Vec::new(),
            consoles: Vec::new(),
        };
        let mut fence: Option<(&str, usize, Vec<&str>)> = None;
        let mut of_section = 0;
        for (n, line) in text.lines().enumerate() {
            let wrong = |why: &str| format!("{file}:{}: {why}: {line}", n + 1);
            if let Some((label, first, mut lines)) = fence.take() {
                if line.trim_end() != "```" {
                    lines.push(line);
                    fence = Some((label, first, lines));
                } else if label == "console" {
                    document.consoles.push((first, lines.join("\n")));
                } else if label == "chat" {
                    of_section += 1;
                    let section = document.sections.last();
                    let section =
                        section.ok_or_else(|| wrong("a transcript before any section"))?;
                    let id = format!("{}/{of_section}", section.number);
                    let chat = Transcript::parse(&id, file, first, &lines.join("\n"))?;
                    document.transcripts.push(chat);
                }
            } else if let Some(label) = line.strip_prefix("```") {
                if !LABELS.contains(&label) {
                    return Err(wrong("no such label of a fenced block"));
                }
                fence = Some((label, n + 2, Vec::new()));
            } else if line.starts_with("##") {
                let heading = line.trim_start_matches('#').trim();
                let (number, title) = heading.split_once(' ').unwrap_or((heading, ""));
                let number = number.trim_end_matches('.');
                if !number.starts_with(|c: char| c.is_ascii_digit()) {
                    return Err(wrong("a heading without its number"));
                }
                of_section = 0;
                document.sections.push(Section {
                    number: number.into(),
                    title: title.into(),
                    text: title.into(),
                });
            } else if let Some(section) = document.sections.last_mut() {
                for word in line.split_whitespace() {
                    section.text.push(' ');
                    section.text.push_str(word);
                }
            }
        }
        match fence {
            Some((label, first, _)) => {
                Err(format!("{file}:{first}: this {label} block never ends"))
            }
            None => Ok(document),
        }
    }

    /// Returns the section with the number `number`.
    pub fn section(&self, number: &str) -> Option<&Section> {
        self.sections
            .iter()
            .find(|section| section.number == number)
    }
}

/// Reads every vector of `tests/conformance/vectors/<section>/<fact>.chat`, in the order of the names.
///
/// # Errors
/// Names the file that is wrong, such as one that does not quote its section word for word.
pub fn vectors(document: &Document) -> Result<Vec<Transcript>, String> {
    let folder = root().join("tests/conformance/vectors");
    let list = |folder: &Path| -> Result<Vec<PathBuf>, String> {
        let entries =
            std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let mut paths: Vec<PathBuf> = entries.filter_map(|e| Some(e.ok()?.path())).collect();
        paths.sort();
        Ok(paths)
    };
    let name = |path: &Path| {
        path.file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned()
    };
    let mut found = Vec::new();
    for path in list(&folder)?
        .iter()
        .map(|section| list(section))
        .collect::<Result<Vec<_>, _>>()?
        .concat()
    {
        let section = name(path.parent().unwrap_or(&folder));
        let file = format!("tests/conformance/vectors/{section}/{}", name(&path));
        let fact = name(&path);
        let fact = fact
            .strip_suffix(".chat")
            .ok_or_else(|| format!("{file}: no .chat file"))?;
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{file}: {e}"))?;
        let vector = Transcript::parse(&format!("{section}/{fact}"), &file, 1, &text)?;
        let section = document
            .section(&section)
            .ok_or_else(|| format!("{file}: no such section"))?;
        if vector.quote.is_empty() || !section.text.contains(&vector.quote) {
            let (number, quote) = (&section.number, &vector.quote);
            return Err(format!(
                "{file}: section {number} of protocol.md does not say {quote:?}"
            ));
        }
        found.push(vector);
    }
    Ok(found)
}
