//! Which flow leaves a full table: two queues threaded through one vector. Does not know flows.

/// Queues in the order in which they are emptied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// Has shown no more than a probe: a spoofed flood displaces itself.
    Probe = 0,
    /// Leaves only when no probe is left.
    Established = 1,
}

const NONE: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Link {
    before: u32,
    after: u32,
    rank: Rank,
}

/// Flows by rank and by the time of their last move to the back.
pub(super) struct Oldest {
    links: Vec<Link>,
    first: [u32; 2],
    last: [u32; 2],
}

impl Oldest {
    pub(super) fn new() -> Self {
        Self { links: Vec::new(), first: [NONE; 2], last: [NONE; 2] }
    }

    /// Appends a flow that is in no queue.
    pub(super) fn push(&mut self, flow: u32, rank: Rank) {
        let at = flow as usize;
        if self.links.len() <= at {
            self.links.resize(at + 1, Link { before: NONE, after: NONE, rank });
        }
        let before = self.last[rank as usize];
        self.links[at] = Link { before, after: NONE, rank };
        match before {
            NONE => self.first[rank as usize] = flow,
            before => self.links[before as usize].after = flow,
        }
        self.last[rank as usize] = flow;
    }

    pub(super) fn remove(&mut self, flow: u32) {
        let Link { before, after, rank } = self.links[flow as usize];
        match before {
            NONE => self.first[rank as usize] = after,
            before => self.links[before as usize].after = after,
        }
        match after {
            NONE => self.last[rank as usize] = before,
            after => self.links[after as usize].before = before,
        }
    }

    /// Moves a flow to the back of the queue of `rank`.
    pub(super) fn renew(&mut self, flow: u32, rank: Rank) {
        if self.last[rank as usize] != flow {
            self.remove(flow);
            self.push(flow, rank);
        }
    }

    /// All flows with their ranks, each queue in the order in which it is emptied.
    pub(super) fn in_order(&self) -> Vec<(u32, Rank)> {
        let mut order = Vec::with_capacity(self.links.len());
        for mut flow in self.first {
            while let Some(link) = self.links.get(flow as usize) {
                order.push((flow, link.rank));
                flow = link.after;
            }
        }
        order
    }

    /// The flow that leaves next.
    pub(super) fn next(&self) -> Option<u32> {
        self.first.into_iter().find(|&flow| flow != NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_leave_before_established_flows_and_each_in_order() {
        let mut oldest = Oldest::new();
        for flow in 0..5 {
            oldest.push(flow, Rank::Probe);
        }
        oldest.renew(0, Rank::Established);
        oldest.renew(3, Rank::Established);
        oldest.renew(0, Rank::Established);
        oldest.remove(2);
        assert_eq!(oldest.in_order().iter().map(|(flow, _)| *flow).collect::<Vec<_>>(), [1, 4, 3, 0]);
        let mut order = Vec::new();
        while let Some(flow) = oldest.next() {
            oldest.remove(flow);
            order.push(flow);
        }
        assert_eq!(order, [1, 4, 3, 0]);
    }
}
