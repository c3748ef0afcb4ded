//! SVG to PNG, with the one font that comes with the program: no system font can change a picture.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{self, Options, Tree};

use crate::error::{Error, Result};
use crate::flow::THREAD_PREFIX;
use crate::shard::whole;

/// Letters, digits and marks of Latin, Greek and Cyrillic; see the licence beside it.
const FONT: &[u8] = include_bytes!("assets/Inter.otf");

/// The font's family.
pub(super) const FAMILY: &str = "Inter";

/// Pixels of a picture, at most; larger ones are drawn smaller.
const MAX_PIXELS: f32 = 2.5e6;

/// Pixels that are drawn at once.
const STRIP_PIXELS: u32 = 1 << 17;

/// What a picture is drawn with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ink {
    /// Black, white and greys alone.
    Grey,
    /// Colours.
    Color,
}

/// Threads that draw, at most: there are few pictures, and each thread has a strip in memory.
const MAX_THREADS: usize = 2;

/// Draws a run's pictures into its directory: first all are ordered, then all are drawn.
pub(super) struct Painter {
    dir: PathBuf,
    options: Options<'static>,
    orders: Vec<Order>,
}

/// A picture to be drawn.
struct Order {
    path: String,
    svg: String,
    ink: Ink,
}

impl Painter {
    /// A painter for a run's directory, whose folder of pictures exists.
    pub(super) fn new(dir: &Path) -> Painter {
        let mut fonts = usvg::fontdb::Database::new();
        fonts.load_font_data(FONT.to_vec());
        Painter {
            dir: dir.to_owned(),
            options: Options {
                font_family: FAMILY.to_owned(),
                fontdb: Arc::new(fonts),
                ..Options::default()
            },
            orders: Vec::new(),
        }
    }

    /// Orders an SVG to be drawn as `pictures/NAME.png`; gives the picture's path in the run's directory.
    pub(super) fn order(&mut self, name: &str, svg: String, ink: Ink) -> String {
        let path = super::picture_path(name);
        self.orders.push(Order {
            path: path.clone(),
            svg,
            ink,
        });
        path
    }

    /// Draws what was ordered, on up to `threads` threads; gives the pictures' paths.
    pub(super) fn draw(self, threads: usize) -> Result<Vec<String>> {
        let threads = threads.clamp(1, MAX_THREADS).min(self.orders.len());
        let next = AtomicUsize::new(0);
        let work = || -> Result<()> {
            while let Some(order) = self.orders.get(next.fetch_add(1, Relaxed)) {
                self.draw_one(order)?;
            }
            Ok(())
        };
        thread::scope(|scope| {
            // Where the system starts no more threads, there is one.
            let start = |_| {
                let name = format!("{THREAD_PREFIX}report");
                let thread = thread::Builder::new().name(name);
                thread.spawn_scoped(scope, work).ok()
            };
            let others: Vec<_> = (1..threads).filter_map(start).collect();
            let own = work();
            let others = others.into_iter().map(|thread| match thread.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            others.chain([own]).collect::<Result<Vec<()>>>()
        })?;
        Ok(self.orders.into_iter().map(|order| order.path).collect())
    }

    fn draw_one(&self, order: &Order) -> Result<()> {
        let path = self.dir.join(&order.path);
        let png = self
            .png(&order.svg, order.ink)
            .map_err(|message| Error::Panicked {
                stage: "report",
                place: Some(path.as_path().into()),
                message,
            })?;
        whole::write_whole(&path, &png).map(|_| ())
    }

    /// Draws strip by strip: a large picture takes no more memory than a small one.
    fn png(&self, svg: &str, ink: Ink) -> Result<Vec<u8>, String> {
        let tree = Tree::from_str(svg, &self.options).map_err(|error| error.to_string())?;
        let size = tree.size();
        let scale = scale(size.width() * size.height());
        let side = |side: f32| (side * scale).ceil().max(1.0) as u32;
        let (width, height) = (side(size.width()), side(size.height()));
        let strip_height = (STRIP_PIXELS / width).clamp(1, height);
        let mut strip = Pixmap::new(width, strip_height)
            .ok_or_else(|| format!("a picture of {width} by {height} cannot be drawn"))?;
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, width, height);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.set_color(ink.color());
        encoder.set_compression(png::Compression::Fast);
        let failed = |error: png::EncodingError| error.to_string();
        let mut writer = encoder.write_header().map_err(failed)?;
        let mut rows = writer.stream_writer().map_err(failed)?;
        for top in (0..height).step_by(strip_height as usize) {
            strip.fill(Color::WHITE);
            let transform = Transform::from_scale(scale, scale).post_translate(0.0, -(top as f32));
            resvg::render(&tree, transform, &mut strip.as_mut());
            let n_pixels = width as usize * strip_height.min(height - top) as usize;
            // On white paper every pixel is opaque, so nothing has to be divided by alpha.
            let pixels = strip.data().chunks_exact(4).take(n_pixels);
            let bytes: Vec<u8> = match ink {
                Ink::Grey => pixels.map(|pixel| pixel[0]).collect(),
                Ink::Color => pixels
                    .flat_map(|pixel| [pixel[0], pixel[1], pixel[2]])
                    .collect(),
            };
            rows.write_all(&bytes).map_err(|error| error.to_string())?;
        }
        rows.finish().map_err(failed)?;
        writer.finish().map_err(failed)?;
        Ok(out)
    }
}

impl Ink {
    fn color(self) -> png::ColorType {
        match self {
            Ink::Grey => png::ColorType::Grayscale,
            Ink::Color => png::ColorType::Rgb,
        }
    }
}

/// Screen pixels a unit of a picture of so many square units: two, as dense screens have, where it stays small; whole
/// numbers keep the pixels of tiles square.
fn scale(area: f32) -> f32 {
    if 4.0 * area <= MAX_PIXELS {
        2.0
    } else if area <= MAX_PIXELS {
        1.0
    } else {
        (MAX_PIXELS / area).sqrt()
    }
}

impl std::fmt::Debug for Painter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Painter({})", self.dir.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_drawn_with_the_font_that_comes_along() {
        let dir = tempfile::tempdir().expect("a folder");
        let painter = Painter::new(dir.path());
        let draw = |text: &str| {
            let svg = format!(
                r#"<svg xmlns="http://www.w3.org/2000/svg" width="60" height="20"><text x="2" y="15" font-size="12">{text}</text></svg>"#
            );
            let png = painter.png(&svg, Ink::Grey).expect("drawn");
            image::load_from_memory(&png).expect("a PNG").to_luma8()
        };
        let (letters, nothing) = (draw("Ag 7"), draw(""));
        assert_eq!(letters.dimensions(), (120, 40));
        assert!(letters.pixels().any(|pixel| pixel.0[0] < 64));
        assert!(nothing.pixels().all(|pixel| pixel.0[0] == 255));
    }
}
