//! The fields that decoders fill.

/// A field of a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// One of those that have an element of their own in rules, or a place of their own in OSSEC.
    Known(KnownField),
    /// Any other, by its name; rules ask for it with `<field name="…">`.
    Dynamic(String),
}

/// A field with a fixed name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KnownField {
    SrcUser,
    DstUser,
    SrcIp,
    DstIp,
    SrcPort,
    DstPort,
    Protocol,
    Action,
    Id,
    Url,
    ExtraData,
    Status,
    SystemName,
    Filename,
}

impl KnownField {
    /// All of them, in the order of their declaration.
    pub const ALL: [KnownField; 14] = [
        KnownField::SrcUser,
        KnownField::DstUser,
        KnownField::SrcIp,
        KnownField::DstIp,
        KnownField::SrcPort,
        KnownField::DstPort,
        KnownField::Protocol,
        KnownField::Action,
        KnownField::Id,
        KnownField::Url,
        KnownField::ExtraData,
        KnownField::Status,
        KnownField::SystemName,
        KnownField::Filename,
    ];

    /// Its name in `order`.
    pub fn name(self) -> &'static str {
        match self {
            KnownField::SrcUser => "srcuser",
            KnownField::DstUser => "dstuser",
            KnownField::SrcIp => "srcip",
            KnownField::DstIp => "dstip",
            KnownField::SrcPort => "srcport",
            KnownField::DstPort => "dstport",
            KnownField::Protocol => "protocol",
            KnownField::Action => "action",
            KnownField::Id => "id",
            KnownField::Url => "url",
            KnownField::ExtraData => "extra_data",
            KnownField::Status => "status",
            KnownField::SystemName => "system_name",
            KnownField::Filename => "filename",
        }
    }
}

impl Field {
    /// The field of this name in `order`.
    pub fn of_name(name: &str) -> Field {
        match name {
            "user" => return Field::Known(KnownField::DstUser),
            "data" => return Field::Known(KnownField::ExtraData),
            _ => {}
        }
        match KnownField::ALL.iter().find(|field| field.name() == name) {
            Some(field) => Field::Known(*field),
            None if name.contains("filename") => Field::Known(KnownField::Filename),
            None => Field::Dynamic(name.to_owned()),
        }
    }
}

/// What a decoder found in a line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fields<'a> {
    known: [Option<&'a [u8]>; KnownField::ALL.len()],
    dynamic: Vec<(&'a str, &'a [u8])>,
}

impl<'a> Fields<'a> {
    /// A later value replaces an earlier one.
    pub fn set(&mut self, field: &'a Field, value: &'a [u8]) {
        match field {
            Field::Known(field) => self.set_known(*field, value),
            Field::Dynamic(name) => match self.dynamic.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) => *known = value,
                None => self.dynamic.push((name, value)),
            },
        }
    }

    /// As [`Fields::set`], for a field with a fixed name.
    pub fn set_known(&mut self, field: KnownField, value: &'a [u8]) {
        self.known[field as usize] = Some(value);
    }

    pub fn get(&self, field: KnownField) -> Option<&'a [u8]> {
        self.known[field as usize]
    }

    /// A dynamic field, whatever the case of its name.
    pub fn dynamic(&self, name: &str) -> Option<&'a [u8]> {
        self.dynamic.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    /// All that have a value: the known ones, then the others in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let known = KnownField::ALL.iter().filter_map(|field| Some((field.name(), self.get(*field)?)));
        known.chain(self.dynamic.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_an_order_are_known_fields_or_dynamic_ones() {
        for field in KnownField::ALL {
            assert_eq!(Field::of_name(field.name()), Field::Known(field));
        }
        let cases = [
            ("user", Field::Known(KnownField::DstUser)),
            ("data", Field::Known(KnownField::ExtraData)),
            ("old_filename", Field::Known(KnownField::Filename)),
            ("cpu", Field::Dynamic("cpu".to_owned())),
            ("SrcIp", Field::Dynamic("SrcIp".to_owned())),
        ];
        for (name, field) in cases {
            assert_eq!(Field::of_name(name), field);
        }
    }

    #[test]
    fn a_later_value_replaces_an_earlier_one() {
        let (user, cpu) = (Field::of_name("user"), Field::of_name("CPU"));
        let mut fields = Fields::default();
        for (user_is, cpu_is) in [(b"a", b"1"), (b"b", b"2")] {
            fields.set(&user, user_is);
            fields.set(&cpu, cpu_is);
        }
        assert_eq!(fields.get(KnownField::DstUser), Some(&b"b"[..]));
        assert_eq!(fields.dynamic("cpu"), Some(&b"2"[..]));
        assert_eq!(fields.iter().count(), 2);
    }
}
