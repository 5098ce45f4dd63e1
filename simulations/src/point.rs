//! Points at which the rest of the world gets its turn while a device is at work: before every call to one of its
//! twins.
//!
//! Between two points a device is alone in the world; at a point anything may happen: the person edits the folder,
//! another device runs a whole round, a message is lost, the machine loses its power. Without power every call
//! fails until the machine is started again, and what the device had in memory is not to be used any more.

use std::{cell::Cell, cell::RefCell, rc::Rc};

/// What a device is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moment {
    /// A look at the whole folder.
    Scan,
    /// A look at one file.
    Read,
    /// One operation on the folder.
    Apply,
    /// The end of a call of operations.
    Applied,
    /// Clearing up.
    Sweep,
    /// A request to the server.
    Request,
    /// Something is written down.
    Persist,
}

type Visitor = Box<dyn FnMut(Moment)>;

/// A machine's points. Clones are the same machine.
#[derive(Clone, Default)]
pub struct Point(Rc<Inner>);

#[derive(Default)]
struct Inner {
    off: Cell<bool>,
    visitor: RefCell<Option<Visitor>>,
}

impl Point {
    /// Who is told of every point from now on.
    pub fn visit(&self, visitor: impl FnMut(Moment) + 'static) {
        *self.0.visitor.borrow_mut() = Some(Box::new(visitor));
    }

    /// The rest of the world gets its turn. A visitor is not visited by what it does itself.
    pub fn pass(&self, moment: Moment) {
        if !self.has_power() {
            return;
        }
        let visitor = self.0.visitor.borrow_mut().take();
        if let Some(mut visitor) = visitor {
            visitor(moment);
            *self.0.visitor.borrow_mut() = Some(visitor);
        }
    }

    /// Whether the machine has power.
    #[must_use]
    pub fn has_power(&self) -> bool {
        !self.0.off.get()
    }

    /// The power is gone.
    pub fn lose_power(&self) {
        self.0.off.set(true);
    }

    /// The machine is started again.
    pub fn start(&self) {
        self.0.off.set(false);
    }
}
