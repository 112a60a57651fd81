//! A table that gives up for the budget: shorter silences end flows, and fewer flows are held. Counts stay exact: what leaves
//! early ends as evicted, with all that was counted of it.

use hashbrown::HashTable;
use ids_common::hash::hash;

use super::{Expiry, FlowTable, NONE, Oldest};

/// Flows that leave a table which shrinks, with each tick.
const EVICTED_AT_ONCE: usize = 4_096;

impl FlowTable {
    /// Ends flows after so much silence, or after what the settings say where that is less; never before the linger.
    pub fn bound_idle(&mut self, idle_ns_max: u64) {
        let idle_ns = self.idle_set_ns.min(idle_ns_max).max(self.linger_ns);
        let shorter = idle_ns < self.idle_ns;
        self.idle_ns = idle_ns;
        if shorter {
            for at in 0..self.flows.len() {
                if self.flows[at].bucket != 0 {
                    self.schedule(at as u32);
                }
            }
        }
    }

    /// Holds so many halves less than the settings say. The flows that had to make room first go, as evicted, some with each
    /// tick: all at once would take more memory than they give back. Their memory follows when the last of them is gone.
    pub fn halve(&mut self, halvings: u8) {
        let flows_max = (self.flows_set_max >> halvings.min(31)).max(1);
        self.shrinking |= flows_max < self.flows_max;
        self.flows_max = flows_max;
    }

    /// Lets the next flows of a table go that has to become smaller.
    pub(super) fn shrink(&mut self) {
        if !self.shrinking {
            return;
        }
        let above = (self.flows.len() - self.free.len()).saturating_sub(self.flows_max);
        for _ in 0..above.min(EVICTED_AT_ONCE) {
            self.evict();
        }
        if above <= EVICTED_AT_ONCE {
            self.compact();
            self.shrinking = false;
        }
    }

    /// Moves the flows together and gives back what is free behind them: in place, as a copy would take as much again.
    fn compact(&mut self) {
        let order = self.oldest.in_order();
        let mut places = vec![NONE; self.flows.len()];
        let mut next = 0;
        for (at, place) in places.iter_mut().enumerate() {
            if self.flows[at].bucket != 0 {
                *place = next as u32;
                self.flows.swap(next, at);
                next += 1;
            }
        }
        self.flows.truncate(next);
        self.flows.shrink_to_fit();
        self.free = Vec::new();
        let moved = |at: u32| places.get(at as usize).copied().unwrap_or(NONE);
        for flow in &mut self.flows {
            flow.previous = moved(flow.previous);
        }
        let secret = self.secret;
        let heads: Vec<u32> = self.index.iter().map(|&at| moved(at)).filter(|&at| at != NONE).collect();
        let mut index = HashTable::with_capacity(heads.len());
        for head in heads {
            let place = |at: &u32| hash(&self.flows[*at as usize].key, &secret);
            index.insert_unique(place(&head), head, place);
        }
        self.index = index;
        self.oldest = Oldest::new();
        for (at, rank) in order {
            self.oldest.push(moved(at), rank);
        }
        self.expiry = Expiry::new(self.tick_ns);
        for (at, flow) in (0_u32..).zip(&self.flows) {
            self.expiry.push(flow.bucket, at);
        }
        self.changed = self.changed.iter().map(|&at| moved(at)).filter(|&at| at != NONE).collect();
        (self.arrivals, self.due, self.buckets) = (Vec::new(), Vec::new(), Vec::new());
        self.orphans.shrink();
    }
}
