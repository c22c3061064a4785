//! Curves as SVG: sizes on a logarithmic axis, rates on a linear one.

use std::fmt::Write as _;

use super::grouped;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 420.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 230.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;

/// Colours that stay apart for the colour-blind (Okabe and Ito), then greys.
const COLOURS: [&str; 10] = [
    "#000000", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#999933",
    "#777777", "#aaaaaa",
];

/// One curve: name, and (size, rate) in the order of sizes.
pub(crate) type Curve = (String, Vec<(usize, f64)>);

/// The document.
pub(crate) fn svg(title: &str, unit: &str, curves: &[Curve]) -> String {
    let points = || curves.iter().flat_map(|(_, points)| points);
    let most = points().map(|(_, rate)| *rate).fold(1.0, f64::max).ceil();
    let mut sizes: Vec<usize> = points().map(|(size, _)| *size).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let log = |size: usize| (size as f64).log10();
    let first = sizes.first().map_or(0.0, |size| log(*size));
    let range = sizes.last().map_or(1.0, |size| log(*size) - first).max(1e-9);
    let x = |size: usize| LEFT + (log(size) - first) / range * (WIDTH - LEFT - RIGHT);
    let y = |rate: f64| HEIGHT - BOTTOM - rate / most * (HEIGHT - TOP - BOTTOM);

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"{LEFT}\" y=\"20\" font-size=\"15\">{}</text>\n",
        escaped(title)
    );
    let right = WIDTH - RIGHT;
    for step in 0..=4 {
        let rate = most * f64::from(step) / 4.0;
        let at = y(rate);
        line(&mut out, (LEFT, at), (right, at), "#dddddd");
        text(&mut out, (LEFT - 8.0, at + 4.0), "end", "#000000", &format!("{rate:.2}"));
    }
    for size in &sizes {
        line(&mut out, (x(*size), TOP), (x(*size), HEIGHT - BOTTOM), "#eeeeee");
        text(&mut out, (x(*size), HEIGHT - BOTTOM + 18.0), "middle", "#000000", &grouped(*size));
    }
    text(&mut out, (LEFT, TOP - 6.0), "start", "#000000", unit);
    text(&mut out, ((LEFT + right) / 2.0, HEIGHT - 10.0), "middle", "#000000", "prefixes");
    for (at, (name, points)) in curves.iter().enumerate() {
        let colour = COLOURS[at % COLOURS.len()];
        let path: Vec<String> =
            points.iter().map(|(size, rate)| format!("{:.1},{:.1}", x(*size), y(*rate))).collect();
        let width = if at < 2 { 3 } else { 2 };
        push(
            &mut out,
            format_args!(
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" points=\"{}\"/>\n",
                path.join(" ")
            ),
        );
        for (size, rate) in points {
            push(
                &mut out,
                format_args!(
                    "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>\n",
                    x(*size),
                    y(*rate)
                ),
            );
        }
        let legend = TOP + 10.0 + 18.0 * at as f64;
        line(&mut out, (right + 16.0, legend - 4.0), (right + 36.0, legend - 4.0), colour);
        text(&mut out, (right + 42.0, legend), "start", colour, name);
    }
    out.push_str("</svg>\n");
    out
}

fn line(out: &mut String, from: (f64, f64), to: (f64, f64), colour: &str) {
    push(
        out,
        format_args!(
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\"/>\n",
            from.0, from.1, to.0, to.1
        ),
    );
}

fn text(out: &mut String, at: (f64, f64), anchor: &str, colour: &str, content: &str) {
    push(
        out,
        format_args!(
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{}</text>\n",
            at.0,
            at.1,
            escaped(content)
        ),
    );
}

fn push(out: &mut String, part: std::fmt::Arguments<'_>) {
    out.write_fmt(part).expect("memory for a picture");
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
