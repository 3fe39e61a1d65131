//! Who was used least recently: one list per memory type and rank.
//!
//! A list is a tree ordered by *age*, a number that only grows, because taking an element out of the middle of a linked list
//! through a pointer needs unsafe code and taking it out of a tree by its key does not. It costs O(log n), and gives a cursor
//! for nothing: it is the age of the element that was seen last, and no change to the list can make it dangle.
//!
//! A *bulk* is a group of objects that stands in a list as one element, with its members in a tree of its own, so that moving
//! it to the young end is one removal and one insertion however many members it has.

use alloc::boxed::Box;
use alloc::vec::Vec;

use hashbrown::HashMap;
use intrusive_collections::{Bound, KeyAdapter, RBTree, RBTreeLink, intrusive_adapter};

use crate::bo::Rank;
use crate::place::MemoryType;

struct Node {
    link: RBTreeLink,
    age: u64,
    what: What,
}

enum What {
    /// The slab key of an object.
    Object(usize),
    /// The members of a bulk, never none.
    Bulk(RBTree<ByAge>),
}

intrusive_adapter!(ByAge = Box<Node>: Node { link => RBTreeLink });

impl<'a> KeyAdapter<'a> for ByAge {
    type Key = u64;

    fn get_key(&self, node: &'a Node) -> u64 {
        node.age
    }
}

type List = RBTree<ByAge>;
type Lists = [List; Rank::LEVELS];

/// A position in the lists of one memory type; nothing that happens to the lists can invalidate it.
///
/// It meets every object that stays where it is exactly once, and none that was listed or touched after it was made: so a
/// walk ends even if everything that it meets is put back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    memory: MemoryType,
    rank: usize,
    /// Age of the element seen last.
    outer: u64,
    /// Age of the member seen last, while inside a bulk.
    inner: Option<u64>,
    /// Ages from here on were given later.
    limit: u64,
}

#[derive(Default)]
pub(crate) struct Lru {
    memories: Vec<Lists>,
    /// For each bulk, its age in each list where it has members.
    bulks: HashMap<u64, HashMap<(MemoryType, usize), u64>>,
    last_age: u64,
}

impl Lru {
    /// Makes the lists of the next memory type.
    pub(crate) fn add_memory(&mut self) {
        self.memories.push(core::array::from_fn(|_| List::new(ByAge::new())));
    }

    /// Lists an object as the youngest; the age that it is given is what takes it out again.
    pub(crate) fn push(&mut self, memory: MemoryType, rank: Rank, bulk: Option<u64>, object: usize) -> u64 {
        let age = self.next_age();
        let node = Node::new(age, What::Object(object));
        match bulk {
            None => {
                self.list(memory, rank.index()).insert(node);
            }
            Some(bulk) => self.change_bulk(bulk, memory, rank.index(), |members| {
                members.insert(node);
            }),
        }
        age
    }

    /// Takes out the object that was given this age.
    pub(crate) fn remove(&mut self, memory: MemoryType, rank: Rank, bulk: Option<u64>, age: u64) {
        match bulk {
            None => {
                self.list(memory, rank.index()).find_mut(&age).remove();
            }
            Some(bulk) => self.change_bulk(bulk, memory, rank.index(), |members| {
                members.find_mut(&age).remove();
            }),
        }
    }

    /// Makes all members of a bulk the youngest, keeping their order.
    pub(crate) fn touch_bulk(&mut self, bulk: u64) {
        let places: Vec<_> = self.bulks.get(&bulk).into_iter().flatten().map(|(place, age)| (*place, *age)).collect();
        for ((memory, rank), age) in places {
            if let Some(mut node) = self.list(memory, rank).find_mut(&age).remove() {
                node.age = self.next_age();
                self.bulks.entry(bulk).or_default().insert((memory, rank), node.age);
                self.list(memory, rank).insert(node);
            }
        }
    }

    /// A cursor before the oldest object of the lowest rank.
    pub(crate) fn cursor(&self, memory: MemoryType) -> Cursor {
        Cursor { memory, rank: 0, outer: 0, inner: None, limit: self.last_age + 1 }
    }

    /// The next object in order of rank, then age.
    pub(crate) fn next(&self, at: &mut Cursor) -> Option<usize> {
        let lists = self.memories.get(at.memory.index())?;
        while let Some(list) = lists.get(at.rank) {
            if let Some(member) = at.inner.and_then(|inner| member_after(list, at.outer, inner))
                && member.age < at.limit
            {
                at.inner = Some(member.age);
                return member.object();
            }
            at.inner = None;
            match list.lower_bound(Bound::Excluded(&at.outer)).get() {
                Some(node) if node.age < at.limit => {
                    at.outer = node.age;
                    match node.what {
                        What::Object(object) => return Some(object),
                        What::Bulk(_) => at.inner = Some(0),
                    }
                }
                _ => (at.rank, at.outer) = (at.rank + 1, 0),
            }
        }
        None
    }

    /// A group is changed outside its list, which only hands out shared references to what it holds.
    fn change_bulk(&mut self, bulk: u64, memory: MemoryType, rank: usize, change: impl FnOnce(&mut List)) {
        let place = (memory, rank);
        let listed = self.bulks.get(&bulk).and_then(|ages| ages.get(&place)).copied();
        let (age, mut members) = match listed.and_then(|age| self.list(memory, rank).find_mut(&age).remove()) {
            Some(node) => (node.age, node.into_members()),
            None => (self.next_age(), List::new(ByAge::new())),
        };
        change(&mut members);
        let ages = self.bulks.entry(bulk).or_default();
        if !members.is_empty() {
            ages.insert(place, age);
            self.list(memory, rank).insert(Node::new(age, What::Bulk(members)));
            return;
        }
        ages.remove(&place);
        if ages.is_empty() {
            self.bulks.remove(&bulk);
        }
    }

    fn list(&mut self, memory: MemoryType, rank: usize) -> &mut List {
        &mut self.memories[memory.index()][rank]
    }

    /// Ages begin at 1, so that a cursor can stand at 0 before the first.
    fn next_age(&mut self) -> u64 {
        self.last_age += 1;
        self.last_age
    }
}

fn member_after(list: &List, bulk: u64, member: u64) -> Option<&Node> {
    match &list.find(&bulk).get()?.what {
        What::Bulk(members) => members.lower_bound(Bound::Excluded(&member)).get(),
        What::Object(_) => None,
    }
}

impl Node {
    fn new(age: u64, what: What) -> Box<Node> {
        Box::new(Node { link: RBTreeLink::new(), age, what })
    }

    fn object(&self) -> Option<usize> {
        match self.what {
            What::Object(object) => Some(object),
            What::Bulk(_) => None,
        }
    }

    fn into_members(self) -> List {
        match self.what {
            What::Bulk(members) => members,
            What::Object(_) => List::new(ByAge::new()),
        }
    }
}
