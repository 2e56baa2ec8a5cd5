use super::*;

#[test]
fn route_refuses_what_means_nothing_and_takes_centroids_that_are_no_numbers() {
    let own = spec(9, 3, 4, Selection::Prefix);
    for bad in [
        route::Spec { clusters: 0, ..own },
        route::Spec { window: 0, ..own },
        route::Spec { dim: 0, ..own },
        route::Spec { dim: 257, ..own },
        route::Spec { tokens: u32::MAX, ..own },
    ] {
        assert!(bad.validate().is_err(), "{bad:?}");
        assert!(route_step::Spec { route: bad }.validate().is_err(), "{bad:?}");
    }
    let steps = [
        route::Spec { selection: Selection::Balanced, ..own },
        route::Spec { scores: true, ..own },
        route::Spec { lengths: true, ..own },
        route::Spec { tokens: 0, ..own },
        route::Spec { window: u32::MAX, ..own },
    ];
    for route in steps {
        assert!(route_step::Spec { route }.validate().is_err(), "{route:?}");
    }
    let offset = selected_attention::Spec { offset: true, ..attending(&own) };
    assert!(offset.validate().is_err(), "shared keys have no offset");
    let pages = attention::Pages { pages: 3, page: 4, width: 3 };
    let separate = selected_attention::Spec {
        keys: Keys::Separate { tokens: 9, entries: 12 },
        paged: Some(pages),
        ..attending(&own)
    };
    separate.validate().expect("keys in pages");
    for bad in [
        selected_attention::Spec { keys: Keys::Shared { normalize: false }, ..separate },
        selected_attention::Spec { memory: 1, ..separate },
        selected_attention::Spec { paged: Some(attention::Pages { page: 3, ..pages }), ..separate },
        selected_attention::Spec { paged: Some(attention::Pages { pages: 0, ..pages }), ..separate },
        selected_attention::Spec { paged: Some(attention::Pages { width: 2, ..pages }), ..separate },
    ] {
        assert!(bad.validate().is_err(), "{bad:?}");
    }
    assert!(selected_attention_backward::Spec { forward: separate }.validate().is_err(), "pages have no gradients");
    // A score of nothing is 0: every token ties, and the earlier win.
    let x = Rng::new(1).normals(72, 1.0);
    for form in FORMS {
        let lists = Lists::of(form, own, &x, &[f32::NAN; 24]);
        assert!((0..3).all(|c| lists.at(c, 8) == [0, 1, 2, 3]));
        // A window above the tokens is all of them.
        let wide = Lists::of(form, route::Spec { window: 1 << 30, ..own }, &x, &[1.0; 24]);
        assert!((0..3).all(|c| wide.at(c, 8).len() == 9));
    }
}

#[test]
fn selected_attention_refuses_lists_that_mean_nothing() {
    for (members, ranges) in [
        (vec![0, 1, 2, 3], vec![0, 2, 2, 5]),
        (vec![0, 1, 2, 3], vec![2, 0, 2, 4]),
        (vec![0, 1, 2, 3], vec![0, 3, 2, 4]),
        (vec![0, 0, 2, 3], vec![0, 2, 2, 4]),
        (vec![1, 0, 2, 3], vec![0, 2, 2, 4]),
        (vec![0, 1, 2, 9], vec![0, 2, 2, 4]),
        (vec![0, 1, 2], vec![0, 2, 2, 3]),
    ] {
        assert!(check_lists(&members, &ranges, 2, 4, 9).is_err(), "{members:?} {ranges:?}");
    }
    check_lists(&[0, 8, 2, 3], &[0, 2, 2, 4], 2, 4, 9).expect("good lists");
    assert_eq!(NO_KEYS, attention::NO_KEYS);
}
