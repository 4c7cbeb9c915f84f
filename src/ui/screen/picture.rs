//! Pictures on the terminal: by the protocol of kitty or by sixel where the terminal has one of them, otherwise as half
//! blocks. This module is pure.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use icy_sixel::SixelImage;
use image::imageops::FilterType;
use image::{DynamicImage, ImageFormat, ImageReader, Limits, Rgba, RgbaImage};
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::text::{Line, Span};

use super::theme::Palette;

/// The maximum length of a file that is shown, in bytes.
pub const FILE_BYTES_MAX: u64 = 32 << 20;

/// The maximum width and height of a picture in pixels.
const SIDE_MAX: u32 = 16_384;

/// The maximum memory for decoding a picture, in bytes: enough for 42 megapixels of a photo.
const DECODING_BYTES_MAX: u64 = 128 << 20;

/// The maximum width and height of a decoded picture in pixels. A larger picture is scaled down, so that it takes
/// little memory while it is shown.
const KEPT_SIDE_MAX: u32 = 2048;

/// The maximum size in bytes of a piece in kitty's protocol.
const KITTY_PIECE_BYTES: usize = 4096;

/// The sequence that deletes all pictures and frees their memory, in kitty's protocol.
pub const KITTY_DELETE: &str = "\x1b_Ga=d,d=A,q=2\x1b\\";

/// The width and height of a character in pixels, if the terminal does not report them.
pub const USUAL_CELL: (u16, u16) = (10, 20);

/// How pictures are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Graphics {
    /// Pictures are not shown, because the terminal has too few colors.
    None,
    /// As half blocks in 256 colors.
    #[default]
    Blocks,
    /// As half blocks in all colors.
    TrueBlocks,
    /// By kitty's protocol.
    Kitty,
    /// By sixel, the graphics of the VT340.
    Sixel,
}

impl Graphics {
    /// Chooses how pictures are shown: as `setting` says, or from the environment and what the terminal answers.
    /// `answers` returns whether the terminal knows kitty's protocol, and whether it knows sixel.
    pub fn find(
        setting: Option<&str>,
        palette: Palette,
        answers: impl FnOnce() -> (bool, bool),
    ) -> Self {
        let is = |name: &str| std::env::var(name).unwrap_or_default();
        let blocks = match &is("COLORTERM")[..] {
            "truecolor" | "24bit" => Self::TrueBlocks,
            _ => Self::Blocks,
        };
        let term = is("TERM");
        match setting {
            Some("kitty") => Self::Kitty,
            Some("sixel") => Self::Sixel,
            Some("blocks") => blocks,
            Some(_) => Self::None,
            None if matches!(palette, Palette::Few | Palette::None) => Self::None,
            // tmux and screen may pass on only text to the terminal in which they run, or may pass on pictures that
            // this terminal cannot show.
            None if term.starts_with("tmux") || term.starts_with("screen") => blocks,
            None => match answers() {
                (true, _) => Self::Kitty,
                (_, true) => Self::Sixel,
                _ => blocks,
            },
        }
    }
}

/// A picture that was decoded, and how it is shown.
#[derive(Debug)]
pub struct Picture {
    /// The name of the file.
    name: String,
    /// The width and height of the original in pixels.
    size: (u32, u32),
    image: RgbaImage,
    shown: Shown,
}

/// A picture, scaled to the size at which it is shown.
#[derive(Debug)]
enum Shown {
    /// Text. In each line, the colors of the upper and the lower half of each character.
    Blocks(Vec<Line<'static>>),
    /// A control sequence of the terminal.
    Sequence {
        /// The sequence.
        bytes: Vec<u8>,
        /// The number of columns and rows.
        cells: (u16, u16),
    },
}

impl Picture {
    /// Decodes a file.
    ///
    /// # Errors
    /// The reason why the file cannot be shown.
    pub fn decode(name: &str, file: &[u8]) -> Result<Self, &'static str> {
        let unknown = "that file is no picture that chatc can show (PNG, JPEG, GIF, WebP)";
        let mut reader = ImageReader::new(Cursor::new(file))
            .with_guessed_format()
            .map_err(|_| unknown)?;
        let mut limits = Limits::no_limits();
        limits.max_image_width = Some(SIDE_MAX);
        limits.max_image_height = Some(SIDE_MAX);
        limits.max_alloc = Some(DECODING_BYTES_MAX);
        reader.limits(limits);
        let image = reader.decode().map_err(|error| match error {
            image::ImageError::Limits(_) => "that picture is too large to be shown here",
            image::ImageError::Decoding(_) | image::ImageError::IoError(_) => {
                "that picture is damaged"
            }
            _ => unknown,
        })?;
        let size = (image.width(), image.height());
        let image = if size.0.max(size.1) > KEPT_SIDE_MAX {
            image.thumbnail(KEPT_SIDE_MAX, KEPT_SIDE_MAX)
        } else {
            image
        };
        Ok(Self {
            name: name.to_owned(),
            size,
            image: image.into_rgba8(),
            shown: Shown::Blocks(Vec::new()),
        })
    }

    /// Returns the name and the size of the picture.
    pub fn title(&self) -> String {
        let (width, height) = self.size;
        format!("{} {width} × {height} · any key closes", self.name)
    }

    /// Prepares the picture for an area. `cell` is the size of a character in pixels.
    pub fn fit(&mut self, graphics: Graphics, cell: (u16, u16), columns: u16, rows: u16) {
        // With blocks, each pixel is half a character.
        let cell = match graphics {
            Graphics::Kitty | Graphics::Sixel => cell,
            _ => (1, 2),
        };
        let space = (pixels(columns, cell.0), pixels(rows, cell.1));
        let (width, height) = self.scaled_to(space, graphics);
        let image = image::imageops::resize(&self.image, width, height, FilterType::Triangle);
        let cells = (cells(width, cell.0), cells(height, cell.1));
        self.shown = match graphics {
            Graphics::Kitty => Shown::Sequence {
                bytes: kitty(image, cells),
                cells,
            },
            Graphics::Sixel => Shown::Sequence {
                bytes: sixel(image),
                cells,
            },
            Graphics::TrueBlocks => Shown::Blocks(blocks(&image, true_color)),
            Graphics::Blocks | Graphics::None => Shown::Blocks(blocks(&image, indexed)),
        };
    }

    /// Returns the width and height, in pixels, that make the picture fit into `space`. A small picture is not
    /// enlarged.
    fn scaled_to(&self, space: (u32, u32), graphics: Graphics) -> (u32, u32) {
        let (width, height) = self.image.dimensions();
        let by = |side: u32, space: u32| f64::from(space.max(1)) / f64::from(side.max(1));
        let scale = by(width, space.0).min(by(height, space.1));
        let scale = match graphics {
            Graphics::Kitty | Graphics::Sixel => scale.min(1.0),
            _ => scale.min(4.0),
        };
        let scaled = |side: u32, most: u32| {
            let scaled = (f64::from(side) * scale).round() as u32;
            scaled.clamp(1, most.max(1))
        };
        (scaled(width, space.0), scaled(height, space.1))
    }

    /// Returns the picture as text, in the middle of `columns` columns; nothing if the terminal draws it.
    pub fn lines(&self) -> &[Line<'static>] {
        match &self.shown {
            Shown::Blocks(lines) => lines,
            Shown::Sequence { .. } => &[],
        }
    }

    /// Returns the sequence with which the terminal draws the picture, and where it begins in `area`; `None` if the
    /// picture is text.
    pub fn sequence(&self, area: Rect) -> Option<(&[u8], (u16, u16))> {
        match &self.shown {
            Shown::Blocks(_) => None,
            Shown::Sequence { bytes, cells } => {
                let middle = |from: u16, all: u16, own: u16| from + all.saturating_sub(own) / 2;
                let x = middle(area.x, area.width, cells.0);
                Some((bytes, (x, middle(area.y, area.height, cells.1))))
            }
        }
    }
}

fn pixels(cells: u16, each: u16) -> u32 {
    u32::from(cells) * u32::from(each.max(1))
}

fn cells(pixels: u32, each: u16) -> u16 {
    let cells = pixels.div_ceil(u32::from(each.max(1)));
    u16::try_from(cells).unwrap_or(u16::MAX)
}

/// Returns the sequence of kitty's protocol that draws `image` at the cursor, which does not move. If the image cannot
/// be encoded, the sequence is empty.
fn kitty(image: RgbaImage, (columns, rows): (u16, u16)) -> Vec<u8> {
    let mut png = Cursor::new(Vec::new());
    if DynamicImage::from(image)
        .write_to(&mut png, ImageFormat::Png)
        .is_err()
    {
        return Vec::new();
    }
    let text = STANDARD.encode(png.into_inner());
    let mut pieces = text.as_bytes().chunks(KITTY_PIECE_BYTES).peekable();
    let mut head = format!("a=T,f=100,q=2,C=1,c={columns},r={rows},");
    let mut sequence = Vec::new();
    while let Some(piece) = pieces.next() {
        let more = u8::from(pieces.peek().is_some());
        sequence.extend(format!("\x1b_G{head}m={more};").bytes());
        sequence.extend(piece);
        sequence.extend(b"\x1b\\");
        head.clear();
    }
    sequence
}

/// Returns the sequence of sixel that draws `image` at the cursor. If the image cannot be encoded, the sequence is
/// empty.
fn sixel(image: RgbaImage) -> Vec<u8> {
    let (width, height) = image.dimensions();
    let sixel = SixelImage::try_from_rgba(image.into_raw(), width as usize, height as usize);
    let sequence = sixel.and_then(|sixel| sixel.encode());
    sequence.map(String::into_bytes).unwrap_or_default()
}

/// Returns `image` as characters, each of which shows two pixels, one above the other.
fn blocks(image: &RgbaImage, color: fn(Rgba<u8>) -> Color) -> Vec<Line<'static>> {
    let pixel = |x, y| {
        let pixel = image.get_pixel_checked(x, y).copied();
        pixel.filter(|pixel| pixel[3] >= 128).map(color)
    };
    let character = |x, y| match (pixel(x, y), pixel(x, y + 1)) {
        (None, None) => Span::raw(" "),
        (Some(upper), None) => Span::styled("▀", Style::new().fg(upper)),
        (None, Some(lower)) => Span::styled("▄", Style::new().fg(lower)),
        (Some(upper), Some(lower)) => Span::styled("▀", Style::new().fg(upper).bg(lower)),
    };
    let line = |y| Line::from_iter((0..image.width()).map(|x| character(x, y)));
    (0..image.height()).step_by(2).map(line).collect()
}

fn true_color(Rgba([red, green, blue, _]): Rgba<u8>) -> Color {
    Color::Rgb(red, green, blue)
}

/// Returns the nearest of 256 colors: one of the cube of 6 × 6 × 6 colors, or of the 24 greys.
fn indexed(Rgba([red, green, blue, _]): Rgba<u8>) -> Color {
    const LEVELS: [u8; 6] = [0, 95, 135, 175, 215, 255];
    let level = |part: u8| {
        let distance = |n: &u8| part.abs_diff(LEVELS[usize::from(*n)]);
        (0..6).min_by_key(distance).unwrap_or(0)
    };
    let distance = |to: [u8; 3]| {
        let parts = [red, green, blue].into_iter().zip(to);
        parts
            .map(|(from, to)| u32::from(from.abs_diff(to)).pow(2))
            .sum::<u32>()
    };
    let cube = [level(red), level(green), level(blue)];
    let colors = cube.map(|n| LEVELS[usize::from(n)]);
    let average = (u16::from(red) + u16::from(green) + u16::from(blue)) / 3;
    let grey = (average.saturating_sub(3) / 10).min(23) as u8;
    if distance([8 + 10 * grey; 3]) < distance(colors) {
        Color::Indexed(232 + grey)
    } else {
        Color::Indexed(16 + 36 * cube[0] + 6 * cube[1] + cube[2])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of `width` and `height` whose upper half is red and whose lower half is blue, as a PNG.
    fn png(width: u32, height: u32) -> Vec<u8> {
        let image = RgbaImage::from_fn(width, height, |_, y| {
            if y < height / 2 {
                Rgba([255, 0, 0, 255])
            } else {
                Rgba([0, 0, 255, 255])
            }
        });
        let mut png = Cursor::new(Vec::new());
        DynamicImage::from(image)
            .write_to(&mut png, ImageFormat::Png)
            .unwrap();
        png.into_inner()
    }

    fn picture(width: u32, height: u32, graphics: Graphics) -> Picture {
        let mut picture = Picture::decode("a.png", &png(width, height)).unwrap();
        picture.fit(graphics, (10, 20), 40, 10);
        picture
    }

    #[test]
    fn half_blocks_keep_the_shape_and_fit() {
        for (width, height, columns, rows) in [
            (100, 100, 20, 10),
            (400, 100, 40, 5),
            (10, 400, 1, 10),
            (2, 2, 8, 4),
        ] {
            let picture = picture(width, height, Graphics::TrueBlocks);
            let lines = picture.lines();
            assert_eq!(lines.len(), rows, "{width} × {height}");
            assert_eq!(lines[0].spans.len(), columns, "{width} × {height}");
            let style = lines[0].spans[0].style;
            assert_eq!(style.fg, Some(Color::Rgb(255, 0, 0)));
        }
        let indexed = picture(100, 100, Graphics::Blocks);
        assert_eq!(
            indexed.lines()[0].spans[0].style.fg,
            Some(Color::Indexed(196))
        );
        assert_eq!(
            indexed.lines()[9].spans[0].style.fg,
            Some(Color::Indexed(21))
        );
    }

    #[test]
    fn greys_are_the_nearest_of_256() {
        for (grey, index) in [(0, 16), (8, 232), (128, 244), (238, 255), (255, 231)] {
            let color = indexed(Rgba([grey, grey, grey, 255]));
            assert_eq!(color, Color::Indexed(index), "{grey}");
        }
    }

    #[test]
    fn the_terminal_draws_in_the_middle_of_the_area() {
        let area = Rect::new(0, 1, 40, 10);
        let kitty = picture(100, 100, Graphics::Kitty);
        let (bytes, at) = kitty.sequence(area).unwrap();
        assert_eq!(at, (15, 3));
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        assert!(
            text.starts_with("\x1b_Ga=T,f=100,q=2,C=1,c=10,r=5,m=0;iVBOR"),
            "{text}"
        );
        let large = picture(2000, 2000, Graphics::Kitty);
        let (bytes, at) = large.sequence(area).unwrap();
        assert_eq!(at, (10, 1));
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let pieces = text.split_terminator("\x1b\\").collect::<Vec<_>>();
        assert!(pieces.iter().all(|piece| piece.starts_with("\x1b_G")));
        assert!(pieces.last().unwrap().contains("m=0;"));
        let sixel = picture(100, 100, Graphics::Sixel);
        let (bytes, at) = sixel.sequence(area).unwrap();
        assert_eq!(at, (15, 3));
        let drawn = SixelImage::decode(bytes).unwrap();
        // A sixel is six pixels high.
        assert_eq!((drawn.width, drawn.height), (100, 102));
        assert_eq!(drawn.pixels.first_chunk(), Some(&[255, 0, 0, 255]));
        assert!(sixel.lines().is_empty());
    }

    #[test]
    fn a_file_that_is_not_a_picture_or_is_too_large_is_refused() {
        let why = |file: &[u8]| Picture::decode("x", file).unwrap_err();
        assert!(why(b"hello").contains("no picture"));
        assert!(why(b"").contains("no picture"));
        assert!(why(&png(100, 100)[..60]).contains("damaged"));
        // A picture of 16,384 × 16,384 pixels, in a few bytes: its header says so.
        let mut bomb = png(8, 8);
        bomb[16..24].copy_from_slice(&[0, 0, 0x40, 0, 0, 0, 0x40, 0]);
        let crc = crc(&bomb[12..29]);
        bomb[29..33].copy_from_slice(&crc.to_be_bytes());
        assert!(why(&bomb).contains("too large"), "{}", why(&bomb));
    }

    /// The checksum of a part of a PNG file (ISO 3309).
    fn crc(bytes: &[u8]) -> u32 {
        let step = |crc: u32, byte: &u8| {
            (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
                (crc >> 1) ^ (0xedb8_8320 * (crc & 1))
            })
        };
        !bytes.iter().fold(!0, step)
    }
}
