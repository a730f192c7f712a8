//! Lists of addresses, as `srcip` and `dstip` of rules give them.

use std::net::IpAddr;

/// One entry: an address or a network, or its opposite.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AddressEntry {
    negated: bool,
    network: Network,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Network {
    Any,
    V4 { bits: u32, prefix: u8 },
    V6 { bits: u128, prefix: u8 },
}

impl AddressEntry {
    /// Reads `any`, `10.1.2.3`, `10.1.0.0/16`, `2001:db8::/32`, each with or without a leading `!`. `None` when it is none
    /// of these. Bits behind the prefix don't count.
    pub fn read(text: &str) -> Option<AddressEntry> {
        let (negated, text) = match text.strip_prefix('!') {
            Some(text) => (true, text),
            None => (false, text),
        };
        if text == "any" {
            return Some(AddressEntry { negated, network: Network::Any });
        }
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let prefix = |bits: u8| match prefix {
            None => Some(bits),
            Some(digits) if digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                digits.parse().ok().filter(|prefix| *prefix <= bits)
            }
            Some(_) => None,
        };
        let network = match address.parse().ok()? {
            IpAddr::V4(address) => Network::V4 { bits: address.to_bits(), prefix: prefix(32)? },
            IpAddr::V6(address) => Network::V6 { bits: address.to_bits(), prefix: prefix(128)? },
        };
        Some(AddressEntry { negated, network })
    }

    fn covers(&self, address: IpAddr) -> bool {
        match (&self.network, address) {
            (Network::Any, _) => true,
            // A shift by all bits leaves none to differ.
            (Network::V4 { bits, prefix }, IpAddr::V4(address)) => {
                (bits ^ address.to_bits()).checked_shr(32 - u32::from(*prefix)).unwrap_or(0) == 0
            }
            (Network::V6 { bits, prefix }, IpAddr::V6(address)) => {
                (bits ^ address.to_bits()).checked_shr(128 - u32::from(*prefix)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// Whether a list takes an address: the first entry that covers it decides; when none does, the list takes it if its
/// last entry is a negated one. What is no address is never taken.
pub(crate) fn takes(entries: &[AddressEntry], address: &[u8]) -> bool {
    let Some(address) = std::str::from_utf8(address).ok().and_then(|text| text.parse::<IpAddr>().ok()) else {
        return false;
    };
    match entries.iter().find(|entry| entry.covers(address)) {
        Some(entry) => !entry.negated,
        None => entries.last().is_some_and(|last| last.negated),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(entries: &[&str], address: &str) -> bool {
        let entries: Vec<_> = entries.iter().map(|text| AddressEntry::read(text).expect("an entry")).collect();
        takes(&entries, address.as_bytes())
    }

    #[test]
    fn the_first_entry_that_covers_an_address_decides() {
        let cases: &[(&[&str], &str, bool)] = &[
            (&["10.1.2.3"], "10.1.2.3", true),
            (&["10.1.2.3"], "10.1.2.4", false),
            (&["10.1.0.0/16"], "10.1.255.255", true),
            (&["10.1.0.0/16"], "10.2.0.0", false),
            (&["10.1.2.3/16"], "10.1.9.9", true),
            (&["0.0.0.0/0"], "255.255.255.255", true),
            (&["::/0"], "10.1.2.3", false),
            (&["any"], "10.1.2.3", true),
            (&["any"], "2001:db8::1", true),
            (&["!any"], "10.1.2.3", false),
            (&["2001:db8::/32"], "2001:db8:ffff::1", true),
            (&["2001:db8::/32"], "2001:db9::1", false),
            (&["2001:db8::1"], "2001:0db8:0::1", true),
            (&["::/0"], "2001:db8::1", true),
            // A list.
            (&["10.1.2.3", "10.9.0.0/16"], "10.9.1.1", true),
            (&["10.1.2.3", "10.9.0.0/16"], "10.8.1.1", false),
            (&["!10.1.2.3", "!10.9.0.0/16"], "10.9.1.1", false),
            (&["!10.1.2.3", "!10.9.0.0/16"], "10.8.1.1", true),
            (&["!10.1.2.3", "10.1.0.0/16"], "10.1.2.3", false),
            (&["!10.1.2.3", "10.1.0.0/16"], "10.1.2.4", true),
            (&["!10.1.2.3", "10.1.0.0/16"], "10.2.0.1", false),
            (&["10.1.2.3", "!10.1.0.0/16"], "10.1.2.3", true),
            (&["10.1.2.3", "!10.1.0.0/16"], "10.2.0.1", true),
            // No address.
            (&["any"], "host", false),
            (&["any"], "", false),
            (&["!10.1.2.3"], "10.1.2.300", false),
        ];
        for (entries, address, expected) in cases {
            assert_eq!(taken(entries, address), *expected, "{entries:?} {address}");
        }
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for text in [
            "",
            "!",
            "10.1.2.300",
            "10.1.2",
            "10.1.2.3/",
            "10.1.2.3/33",
            "10.1.2.3/+8",
            "::1/129",
            " 10.1.2.3",
            "!!10.1.2.3",
            "host",
            "10.1.2.3/255.255.0.0",
            "10.1.2.3|10.1.2.4",
        ] {
            assert_eq!(AddressEntry::read(text), None, "{text:?}");
        }
    }
}
