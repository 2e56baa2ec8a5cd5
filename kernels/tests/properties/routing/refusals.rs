use super::*;

#[test]
fn route_refuses_what_means_nothing_and_takes_centroids_that_are_no_numbers() {
    let own = spec(9, 3, 4, Selection::Prefix);
    for bad in [own.with_clusters(0), own.with_window(0), own.with_dim(0), own.with_dim(257), own.with_tokens(u32::MAX)]
    {
        assert!(bad.validate().is_err(), "{bad:?}");
        assert!(route_step::Spec::new(bad).validate().is_err(), "{bad:?}");
    }
    let steps = [
        own.with_selection(Selection::Balanced),
        own.with_scores(true),
        own.with_lengths(true),
        own.with_tokens(0),
        own.with_window(u32::MAX),
    ];
    for route in steps {
        assert!(route_step::Spec::new(route).validate().is_err(), "{route:?}");
    }
    let offset = attending(&own).with_offset(true);
    assert!(offset.validate().is_err(), "shared keys have no offset");
    let pages = attention::Pages { pages: 3, page: 4, width: 3 };
    let separate = attending(&own).with_keys(Keys::Separate { tokens: 9, entries: 12 }).with_paged(Some(pages));
    separate.validate().expect("keys in pages");
    for bad in [
        separate.with_keys(Keys::Shared { normalize: false }),
        separate.with_memory(1),
        separate.with_paged(Some(attention::Pages { page: 3, ..pages })),
        separate.with_paged(Some(attention::Pages { pages: 0, ..pages })),
        separate.with_paged(Some(attention::Pages { width: 2, ..pages })),
    ] {
        assert!(bad.validate().is_err(), "{bad:?}");
    }
    assert!(selected_attention_backward::Spec::new(separate).validate().is_err(), "pages have no gradients");
    // A score of nothing is 0: every token ties, and the earlier win.
    let x = Rng::new(1).normals(72, 1.0);
    for form in FORMS {
        let lists = Lists::of(form, own, &x, &[f32::NAN; 24]);
        assert!((0..3).all(|c| lists.at(c, 8) == [0, 1, 2, 3]));
        // A window above the tokens is all of them.
        let wide = Lists::of(form, own.with_window(1 << 30), &x, &[1.0; 24]);
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
