//! A table that gives up for the budget: shorter silences end flows, and fewer flows are held. Counts stay exact: what leaves
//! early ends as evicted, with all that was counted of it.

use hashbrown::HashTable;
use ids_common::hash::hash;

use super::{Expiry, FlowTable, NONE, Oldest};

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

    /// Holds so many halves less than the settings say. The flows that had to make room first go, as evicted, and their
    /// memory with them.
    pub fn halve(&mut self, halvings: u8) {
        let flows_max = (self.flows_set_max >> halvings.min(31)).max(1);
        let smaller = flows_max < self.flows_max;
        self.flows_max = flows_max;
        if !smaller {
            return;
        }
        while self.flows.len() - self.free.len() > self.flows_max {
            self.evict();
        }
        self.compact();
    }

    /// Moves the flows together and gives back what is free behind them.
    fn compact(&mut self) {
        let mut places = vec![NONE; self.flows.len()];
        let mut next = 0_u32;
        for (place, flow) in places.iter_mut().zip(&self.flows) {
            if flow.bucket != 0 {
                *place = next;
                next += 1;
            }
        }
        let moved = |at: u32| places.get(at as usize).copied().unwrap_or(NONE);
        let order = self.oldest.in_order();
        let heads: Vec<u32> = self.index.iter().map(|&at| moved(at)).filter(|&at| at != NONE).collect();

        let mut flows = Vec::with_capacity(next as usize);
        flows.extend(std::mem::take(&mut self.flows).into_iter().filter(|flow| flow.bucket != 0));
        self.flows = flows;
        self.free = Vec::new();
        for flow in &mut self.flows {
            flow.previous = moved(flow.previous);
        }
        let secret = self.secret;
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
        self.evicted.shrink_to_fit();
        self.orphans.shrink_to_fit(|orphan| hash(&orphan.slot.key, &secret));
        self.orphans_until.shrink_to_fit();
    }
}
