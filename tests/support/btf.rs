//! The types in the object's BTF. Aya parses BTF but shows nothing of it, so this reads
//! the section's bytes: a header, type records, strings.

use aya_obj::Object;

/// A field of a structure, in bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Field {
    /// Where it begins.
    pub offset: usize,
    /// Its name.
    pub name: String,
    /// Its size.
    pub size: usize,
}

/// A structure as BTF has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Its size.
    pub size: usize,
    /// Its fields, in the order of their offsets.
    pub fields: Vec<Field>,
}

/// The BTF of an object file.
#[derive(Debug)]
pub struct Btf {
    types: Vec<Record>,
    strings: Vec<u8>,
}

#[derive(Debug)]
struct Record {
    name: u32,
    kind: u32,
    /// Size in bytes, or the type it refers to.
    size_or_type: u32,
    /// The words behind the record.
    rest: Vec<u32>,
}

const INT: u32 = 1;
const POINTER: u32 = 2;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FUNCTION_PROTOTYPE: u32 = 13;
const VARIABLE: u32 = 14;
const DATA_SECTION: u32 = 15;
const FLOAT: u32 = 16;
const DECLARATION_TAG: u32 = 17;
const ENUM64: u32 = 19;

impl Btf {
    /// Reads the BTF of an object file.
    pub fn of(object: &[u8]) -> Self {
        let object =
            Object::parse(object).unwrap_or_else(|error| panic!("not an object file: {error}"));
        let bytes = object.btf.map(|btf| btf.to_bytes());
        let bytes = bytes.unwrap_or_else(|| panic!("the object has no BTF"));
        let word = |at: usize| -> u32 {
            let bytes = bytes.get(at..at + 4).unwrap_or_else(|| panic!("BTF ends at byte {at}"));
            u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
        };
        let header = word(4) as usize;
        let (types_at, types_len) = (header + word(8) as usize, word(12) as usize);
        let (strings_at, strings_len) = (header + word(16) as usize, word(20) as usize);

        // Type 0 is void and has no record.
        let mut types = vec![Record { name: 0, kind: 0, size_or_type: 0, rest: Vec::new() }];
        let mut at = types_at;
        while at < types_at + types_len {
            let info = word(at + 4);
            let (kind, number) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
            let words = match kind {
                INT | VARIABLE | DECLARATION_TAG => 1,
                ARRAY => 3,
                STRUCT | UNION | DATA_SECTION | ENUM64 => 3 * number,
                ENUM | FUNCTION_PROTOTYPE => 2 * number,
                _ => 0,
            };
            let rest = (0..words).map(|i| word(at + 12 + 4 * i)).collect();
            types.push(Record { name: word(at), kind, size_or_type: word(at + 8), rest });
            at += 12 + 4 * words;
        }
        Self { types, strings: bytes[strings_at..strings_at + strings_len].to_vec() }
    }

    /// The structure of a name; `None` if there is none.
    pub fn structure(&self, name: &str) -> Option<Layout> {
        let is_it = |record: &&Record| record.kind == STRUCT && self.string(record.name) == name;
        let record = self.types.iter().find(is_it)?;
        let fields = record.rest.chunks(3).map(|member| Field {
            // The upper byte may be a bit field's size.
            offset: (member[2] & 0x00ff_ffff) as usize / 8,
            name: self.string(member[0]),
            size: self.size(member[1]),
        });
        let mut fields: Vec<_> = fields.collect();
        fields.sort();
        Some(Layout { size: record.size_or_type as usize, fields })
    }

    /// Name and size of a type.
    pub fn name_and_size(&self, id: u32) -> (String, usize) {
        (self.string(self.types[id as usize].name), self.size(id))
    }

    fn size(&self, id: u32) -> usize {
        let record = &self.types[id as usize];
        match record.kind {
            0 => 0,
            INT | STRUCT | UNION | ENUM | ENUM64 | FLOAT => record.size_or_type as usize,
            POINTER => 8,
            ARRAY => self.size(record.rest[0]) * record.rest[2] as usize,
            _ => self.size(record.size_or_type),
        }
    }

    fn string(&self, at: u32) -> String {
        let bytes = self.strings[at as usize..].split(|byte| *byte == 0).next();
        String::from_utf8_lossy(bytes.unwrap_or_default()).into_owned()
    }
}
