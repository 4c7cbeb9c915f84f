//! Colors for dark and light backgrounds, for terminals with few colors, and for users who want none.

use ratatui::style::{Color, Modifier, Style};

/// The colors that are used, for the terminal and its background.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Palette {
    /// 256 colors on a dark background.
    #[default]
    Dark,
    /// 256 colors on a light background.
    Light,
    /// The terminal's own 8 colors.
    Few,
    /// No colors, only bold, dim, underlined and reversed (`NO_COLOR`).
    None,
}

/// The colors of nicks. Each is readable on its background (with a contrast of 4.5 to 1 or more).
const ON_DARK: [u8; 16] = [
    203, 209, 215, 186, 149, 114, 79, 80, 75, 111, 147, 141, 177, 212, 180, 109,
];
const ON_LIGHT: [u8; 16] = [
    124, 130, 94, 58, 28, 22, 29, 23, 25, 26, 61, 55, 91, 126, 161, 88,
];
const FEW: [Color; 5] = [
    Color::Green,
    Color::Magenta,
    Color::Cyan,
    Color::Blue,
    Color::Red,
];

impl Palette {
    /// Chooses the colors for this terminal from its environment. If that does not show the background, calls
    /// `is_light`.
    pub fn find(is_light: impl FnOnce() -> Option<bool>) -> Self {
        let is = |name: &str| std::env::var(name).unwrap_or_default();
        if !is("NO_COLOR").is_empty() {
            return Self::None;
        }
        let term = is("TERM");
        let has_many = term.contains("256")
            || !is("COLORTERM").is_empty()
            || term.contains("kitty")
            || term.contains("alacritty");
        if !has_many {
            return Self::Few;
        }
        // rxvt, Konsole and others set this variable to `text;background`, two of 16 colors.
        let behind = is("COLORFGBG");
        let behind = behind.rsplit(';').next().and_then(|n| n.parse::<u8>().ok());
        match behind {
            Some(7 | 9..=15) => Self::Light,
            Some(_) => Self::Dark,
            None if is_light() == Some(true) => Self::Light,
            None => Self::Dark,
        }
    }

    fn pick(self, dark: u8, light: u8, few: Color) -> Style {
        match self {
            Self::Dark => Style::new().fg(Color::Indexed(dark)),
            Self::Light => Style::new().fg(Color::Indexed(light)),
            Self::Few => Style::new().fg(few),
            Self::None => Style::new(),
        }
    }

    /// Returns the style of the current room, the prompt and titles.
    pub fn accent(self) -> Style {
        self.pick(80, 30, Color::Cyan).add_modifier(Modifier::BOLD)
    }

    /// Returns the style of times, joins and leaves.
    pub fn dim(self) -> Style {
        match self {
            Self::Few | Self::None => Style::new().add_modifier(Modifier::DIM),
            _ => self.pick(245, 242, Color::Reset),
        }
    }

    /// Returns the style of dim words in the bars. In a reversed bar, a dim word would look like a grey spot.
    pub fn dim_in_bar(self) -> Style {
        match self {
            Self::Few | Self::None => Style::new(),
            _ => self.dim(),
        }
    }

    /// Returns the style of thin lines.
    pub fn line(self) -> Style {
        match self {
            Self::Few | Self::None => Style::new().add_modifier(Modifier::DIM),
            _ => self.pick(238, 251, Color::Reset),
        }
    }

    /// Returns the style of links.
    pub fn link(self) -> Style {
        self.pick(75, 26, Color::Blue)
            .add_modifier(Modifier::UNDERLINED)
    }

    /// Returns the style of this client's nick in messages.
    pub fn mention(self) -> Style {
        let style = self
            .pick(215, 130, Color::Yellow)
            .add_modifier(Modifier::BOLD);
        match self {
            Self::None => style.add_modifier(Modifier::REVERSED),
            _ => style,
        }
    }

    /// Returns the style of errors.
    pub fn error(self) -> Style {
        self.pick(203, 124, Color::Red)
    }

    /// Returns the style of success.
    pub fn good(self) -> Style {
        self.pick(114, 28, Color::Green)
    }

    /// Returns the style of the bars at the top and the bottom.
    pub fn bar(self) -> Style {
        match self {
            Self::Dark => Style::new().bg(Color::Indexed(236)),
            Self::Light => Style::new().bg(Color::Indexed(254)),
            Self::Few | Self::None => Style::new().add_modifier(Modifier::REVERSED),
        }
    }

    /// Returns the style of the selected row.
    pub fn chosen(self) -> Style {
        match self {
            Self::Dark => Style::new()
                .bg(Color::Indexed(238))
                .add_modifier(Modifier::BOLD),
            Self::Light => Style::new()
                .bg(Color::Indexed(252))
                .add_modifier(Modifier::BOLD),
            Self::Few | Self::None => Style::new().add_modifier(Modifier::REVERSED),
        }
    }

    /// Returns the style of a nick. It is the same in every run.
    pub fn nick(self, nick: &str) -> Style {
        // This is FNV-1a, because the standard library's hash differs in each run.
        let hash = nick.bytes().fold(0x811c_9dc5_u32, |hash, b| {
            (hash ^ u32::from(b)).wrapping_mul(0x0100_0193)
        });
        // The hashes of short nicks differ in few bits. This step makes those bits affect the ones that are used.
        let hash = (hash ^ (hash >> 15)).wrapping_mul(0x2c1b_3c6d);
        let hash = (hash ^ (hash >> 12)).wrapping_mul(0x297a_2d39);
        let of = |count: usize| (hash ^ (hash >> 15)) as usize % count;
        let color = match self {
            Self::Dark => ON_DARK.get(of(ON_DARK.len())).map(|n| Color::Indexed(*n)),
            Self::Light => ON_LIGHT.get(of(ON_LIGHT.len())).map(|n| Color::Indexed(*n)),
            Self::Few => FEW.get(of(FEW.len())).copied(),
            Self::None => None,
        };
        let style = Style::new().add_modifier(Modifier::BOLD);
        color.map_or(style, |color| style.fg(color))
    }
}
