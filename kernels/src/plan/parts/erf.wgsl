// erf(x) with an error of at most 5e-7: a Maclaurin series below |x| = 1,
// the rational form with exp of Abramowitz and Stegun 7.1.26 above.
fn erf(x: f32) -> f32 {
    let a = min(abs(x), 6.0);
    if a < 1.0 {
        // Series: 2/sqrt(pi) sum (-1)^n x^(2n+1) / (n! (2n+1)), eleven terms.
        let t = a * a;
        var sum = 0.0;
        var term = 1.0;
        for (var n = 0u; n < 11u; n++) {
            sum += term / f32(2u * n + 1u);
            term *= -t / f32(n + 1u);
        }
        return sign(x) * 1.1283791671 * a * sum;
    }
    let t = 1.0 / (1.0 + 0.3275911 * a);
    let poly = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
    return sign(x) * (1.0 - poly * exp(-a * a));
}
