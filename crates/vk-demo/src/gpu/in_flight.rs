//! Which parts of the staging memory the device may be reading or writing at this moment.

use std::collections::VecDeque;
use std::ops::Range;

use crate::device::Ticket;

/// Spans of the staging memory in copies that have been recorded or submitted and are not known to be done.
#[derive(Default)]
pub(super) struct InFlight {
    recorded: Vec<Range<u64>>,
    submitted: VecDeque<(Ticket, Vec<Range<u64>>)>,
}

/// What must happen before the host may touch a span.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Before {
    /// Nothing.
    Nothing,
    /// Copies that touch it have only been recorded: submit them, then wait.
    Submit,
    /// This ticket must be reached.
    Wait(Ticket),
}

impl InFlight {
    /// Notes a recorded copy; spans that touch are kept as one.
    pub(super) fn record(&mut self, span: Range<u64>) {
        match self.recorded.last_mut() {
            Some(last) if last.end == span.start => last.end = span.end,
            _ => self.recorded.push(span),
        }
    }

    /// What was recorded has been sent under this ticket.
    pub(super) fn submit(&mut self, ticket: Ticket) {
        let spans = std::mem::take(&mut self.recorded);
        if !spans.is_empty() {
            self.submitted.push_back((ticket, spans));
        }
    }

    /// Forgets everything up to a ticket that has been reached.
    pub(super) fn reached(&mut self, ticket: Ticket) {
        while self.submitted.front().is_some_and(|(sent, _)| *sent <= ticket) {
            self.submitted.pop_front();
        }
    }

    /// What must happen before the host may touch `span`.
    pub(super) fn before(&self, span: &Range<u64>) -> Before {
        let touches = |spans: &[Range<u64>]| spans.iter().any(|used| used.start < span.end && span.start < used.end);
        if touches(&self.recorded) {
            return Before::Submit;
        }
        match self.submitted.iter().rev().find(|(_, spans)| touches(spans)) {
            Some(&(ticket, _)) => Before::Wait(ticket),
            None => Before::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_waits_for_the_last_copy_that_touches_its_span() {
        let mut in_flight = InFlight::default();
        in_flight.record(0..10);
        in_flight.record(10..20);
        assert_eq!(in_flight.before(&(15..16)), Before::Submit);
        assert_eq!(in_flight.before(&(20..30)), Before::Nothing);
        in_flight.submit(Ticket(1));
        in_flight.record(40..50);
        in_flight.record(5..6);
        in_flight.submit(Ticket(2));
        assert_eq!(in_flight.before(&(0..8)), Before::Wait(Ticket(2)));
        assert_eq!(in_flight.before(&(8..20)), Before::Wait(Ticket(1)));
        in_flight.reached(Ticket(1));
        assert_eq!(in_flight.before(&(8..20)), Before::Nothing);
        assert_eq!(in_flight.before(&(45..46)), Before::Wait(Ticket(2)));
    }
}
