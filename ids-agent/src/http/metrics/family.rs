//! The names of all metrics, their labels and what they mean: what is registered, documented and asked of Prometheus.
//! Holds no figure.

/// What a family's figures do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FamilyKind {
    /// Only rises, but for a restart.
    Counter,
    Gauge,
    /// Three families: `_bucket`, `_sum` and `_count`.
    Histogram,
}

/// One family of series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Family {
    pub name: &'static str,
    pub kind: FamilyKind,
    pub labels: &'static [&'static str],
    pub help: &'static str,
}

/// Names of labels. Their values come from closed sets, but for names that the operator gave.
pub mod label {
    pub const ACTION: &str = "action";
    pub const BACKEND: &str = "backend";
    pub const BY: &str = "by";
    pub const CATEGORY: &str = "category";
    pub const CLASS: &str = "class";
    pub const CAUSE: &str = "cause";
    pub const COMMUNITY_ID: &str = "community_id";
    pub const DETECTOR: &str = "detector";
    pub const DIRECTION: &str = "direction";
    pub const FATE: &str = "fate";
    pub const FEED: &str = "feed";
    pub const FLOW: &str = "flow";
    pub const INTERFACE: &str = "interface";
    pub const KIND: &str = "kind";
    pub const MODE: &str = "mode";
    pub const NAME: &str = "name";
    pub const OF: &str = "of";
    pub const PART: &str = "part";
    pub const REASON: &str = "reason";
    pub const RESULT: &str = "result";
    pub const SEVERITY: &str = "severity";
    pub const SHA256: &str = "sha256";
    pub const SINK: &str = "sink";
    pub const SOURCE: &str = "source";
    pub const STANDING: &str = "standing";
    pub const STATE: &str = "state";
    pub const TABLE: &str = "table";
    pub const TYPE: &str = "type";
    pub const VERSION: &str = "version";
    pub const WHAT: &str = "what";
    pub const WITNESS: &str = "witness";
}

/// Each is a constant of its own, and all are in `ALL`.
macro_rules! families {
    ($($kind:ident $constant:ident = $name:literal [$($label:expr),*] $help:literal;)*) => {
        $(
            #[doc = $help]
            pub const $constant: Family = Family {
                name: $name,
                kind: families!(@$kind),
                labels: &[$($label),*],
                help: $help,
            };
        )*
        /// Every family that the agent shows.
        pub const ALL: &[Family] = &[$($constant),*];
    };
    (@counter) => { FamilyKind::Counter };
    (@gauge) => { FamilyKind::Gauge };
    (@histogram) => { FamilyKind::Histogram };
}

families! {
    // What the kernel programs count.
    counter PACKETS_SEEN = "ids_packets_seen_total" []
        "Frames that reached a program or were read from a file.";
    counter PACKETS_IN_FLOWS = "ids_packets_in_flows_total" []
        "Packets counted in flows.";
    counter BYTES_IN_FLOWS = "ids_bytes_in_flows_total" []
        "Network-layer bytes counted in flows.";
    counter SEGMENTS_UNFOLDED = "ids_segments_unfolded_total" []
        "Packets that segmentation super-packets stood for, beyond the one seen.";
    counter SLOTS_EVICTED = "ids_slots_evicted_total" []
        "Slots that left the kernel table to make room.";
    counter SLOTS_LOST = "ids_slots_lost_total" []
        "Evicted slots lost because the ring was full.";
    counter SLOTS_LOST_PACKETS = "ids_slots_lost_packets_total" []
        "Packets in lost slots.";
    counter SLOTS_LOST_BYTES = "ids_slots_lost_bytes_total" []
        "Bytes in lost slots.";
    counter SAMPLES_SENT = "ids_samples_sent_total" []
        "Payload samples sent through the ring.";
    counter SAMPLES_LOST = "ids_samples_lost_total" []
        "Payload samples lost because the ring was full.";
    counter TABLE_MISSING = "ids_table_missing_total" []
        "Packets counted nowhere because a map lookup failed.";

    counter PACKETS_BLOCKED = "ids_packets_blocked_total" []
        "Packets counted in flows and then dropped for a block.";
    counter BYTES_BLOCKED = "ids_bytes_blocked_total" []
        "Network-layer bytes of dropped packets.";

    // Blocking.
    gauge BLOCKS = "ids_blocks" []
        "Blocks in force.";
    counter BLOCK_EVENTS = "ids_block_events_total" [label::ACTION]
        "What became of blocks.";
    counter BLOCK_REFUSED = "ids_block_refused_total" [label::REASON]
        "Blocks not put in force.";
    gauge BLOCK_HOSTS = "ids_block_hosts" []
        "Hosts seen to converse in the last one to two hours.";

    // The line from flows to alerts.
    gauge BUILD_INFO = "ids_build_info" [label::VERSION]
        "The agent's version; always 1.";
    counter PACKETS_SKIPPED = "ids_packets_skipped_total" [label::REASON]
        "Frames not counted in a flow.";
    gauge FLOWS_ACTIVE = "ids_flows_active" []
        "Flows in progress.";
    counter FLOWS_STARTED = "ids_flows_started_total" []
        "Flows that began.";
    counter FLOWS_ENDED = "ids_flows_ended_total" [label::REASON]
        "Flows that ended.";
    counter SLOTS_STALE = "ids_slots_stale_total" []
        "Snapshots of slots that were older than what was known, or told of their end a second time.";
    counter ENTRIES_FORGOTTEN = "ids_entries_forgotten_total" [label::TABLE]
        "Entries that a bounded table let go early.";
    counter FINDINGS_SILENCED = "ids_findings_silenced_total" [label::BY]
        "Findings that raised no alert: on the allow list, or called false by feedback.";
    counter FLOWS_JUDGED = "ids_flows_judged_total" []
        "Judgements of flows; a long flow has several.";
    counter FINDINGS = "ids_findings_total" [label::WITNESS]
        "Findings.";
    counter ABSTAINED = "ids_abstained_total" [label::WITNESS]
        "Flows that looked odd, but not surely enough to say so.";
    counter INFERENCE_FAILED = "ids_inference_failed_total" [label::WITNESS]
        "Flows not judged because inference failed.";
    histogram ENGINE_STEP_SECONDS = "ids_engine_step_seconds" []
        "Time to judge one tick.";
    histogram INFERENCE_SECONDS = "ids_inference_seconds" [label::WITNESS]
        "Time one detector takes for the flows of a tick.";
    counter ALERTS = "ids_alerts_total" [label::CLASS, label::SEVERITY]
        "Alerts.";
    counter VERDICTS = "ids_verdicts_total" [label::CLASS]
        "Ended flows by verdict.";
    gauge ENGINE_QUEUE_BATCHES = "ids_engine_queue_batches" []
        "Batches that wait for the engine.";
    counter ENGINE_QUEUE_FULL = "ids_engine_queue_full_total" []
        "Times the source waited because the engine's queue was full.";
    gauge SINK_QUEUE_LINES = "ids_sink_queue_lines" [label::SINK]
        "Lines that wait for a sink.";
    gauge SINK_QUEUE_LIMIT_LINES = "ids_sink_queue_limit_lines" [label::SINK]
        "Lines that may wait for a sink.";
    counter SINK_LINES_OFFERED = "ids_sink_lines_offered_total" [label::SINK]
        "Lines given to a sink.";
    counter SINK_LINES_WRITTEN = "ids_sink_lines_written_total" [label::SINK]
        "Lines a sink has written.";
    counter SINK_WRITTEN_BYTES = "ids_sink_written_bytes_total" [label::SINK]
        "Bytes a sink has written.";
    counter SINK_LINES_DROPPED = "ids_sink_lines_dropped_total" [label::SINK, label::REASON]
        "Lines a sink has not written.";
    counter SINK_ROTATIONS = "ids_sink_rotations_total" [label::SINK]
        "Rotations of a file.";
    gauge ATTACHED = "ids_attached" [label::INTERFACE, label::MODE, label::DIRECTION]
        "Whether a program sees an interface.";
    counter CAPTURE_GAP_PACKETS = "ids_capture_gap_packets_total" []
        "Packets of watched interfaces that no agent saw or read.";
    gauge RING_SIZE_BYTES = "ids_ring_size_bytes" []
        "Size of the ring buffer.";
    gauge RING_USED_BYTES = "ids_ring_used_bytes" []
        "Bytes of the ring buffer in use when it was last read.";
    gauge MAP_MEMORY_BYTES = "ids_map_memory_bytes" []
        "Memory of all kernel maps.";
    gauge MODEL_INFO = "ids_model_info" [label::NAME, label::VERSION, label::SHA256, label::BACKEND]
        "Loaded models; always 1.";
    gauge DEVICES = "ids_devices" [label::STANDING]
        "Devices of the site in each role: being learned, and known by their own past.";
    counter STATE_WRITTEN = "ids_state_written_total" []
        "Times the detectors' state was written.";
    counter STATE_LOST = "ids_state_lost_total" [label::REASON]
        "State that was not written or not taken back, by reason.";
    gauge STATE_SIZE_BYTES = "ids_state_size_bytes" []
        "Length of the state file as last written.";

    // Threat intelligence.
    gauge INTEL_INDICATORS = "ids_intel_indicators" [label::FEED]
        "Indicators of a feed in force.";
    gauge INTEL_MEMORY_BYTES = "ids_intel_memory_bytes" [label::FEED]
        "Memory that a feed takes.";
    gauge INTEL_FEED_MODIFIED_TIMESTAMP_SECONDS = "ids_intel_feed_modified_timestamp_seconds" [label::FEED]
        "When a feed's newest file was changed.";
    gauge INTEL_ENTRIES_LEFT_OUT = "ids_intel_entries_left_out" [label::FEED, label::REASON]
        "Entries of a feed that are not in force.";
    counter INTEL_LOADS = "ids_intel_loads_total" [label::FEED]
        "Times a feed was taken.";
    counter INTEL_REFUSALS = "ids_intel_refusals_total" [label::FEED]
        "Times a feed was refused.";
    counter INTEL_HITS = "ids_intel_hits_total" [label::CATEGORY, label::KIND]
        "Indicators touched, those that are not told included.";

    // Following Suricata's eve.json.
    counter EVE_LINES = "ids_eve_lines_total" []
        "Lines of eve.json that were read.";
    counter EVE_EVENTS = "ids_eve_events_total" [label::TYPE]
        "Lines that were understood.";
    counter EVE_LINES_SKIPPED = "ids_eve_lines_skipped_total" [label::REASON]
        "Lines that gave no event.";
    counter EVE_READ_BYTES = "ids_eve_read_bytes_total" [label::PART]
        "Bytes of eve.json: in lines, in lines that were too long or cut, in empty lines.";
    gauge EVE_BEHIND_BYTES = "ids_eve_behind_bytes" []
        "Bytes that stand written and are not read yet.";
    gauge EVE_LAG_SECONDS = "ids_eve_lag_seconds" []
        "Age of the newest event; negative where its clock is ahead.";
    gauge EVE_READABLE = "ids_eve_readable" []
        "Whether eve.json could be read when it was last tried.";
    counter EVE_ROTATIONS = "ids_eve_rotations_total" [label::KIND]
        "Rotations of eve.json.";
    counter EVE_REFUSED = "ids_eve_refused_total" [label::WHAT]
        "Files and connections left alone for a while because there were too many.";
    counter EVE_FLOW_EVENTS = "ids_eve_flow_events_total" [label::COMMUNITY_ID]
        "Events of flows, by whether they bore a community-id.";
    gauge SURICATA_UP = "ids_suricata_up" []
        "Whether Suricata said anything in the last two minutes.";
    gauge SURICATA_UPTIME_SECONDS = "ids_suricata_uptime_seconds" []
        "How long Suricata runs, by its statistics.";
    gauge SURICATA_PACKETS = "ids_suricata_packets" [label::FATE]
        "Packets since Suricata's start, by its statistics.";
    gauge SURICATA_RULES = "ids_suricata_rules" [label::STATE]
        "Rules of Suricata, by its statistics.";
    gauge SURICATA_MEMORY_BYTES = "ids_suricata_memory_bytes" []
        "Memory of Suricata's flows and streams, by its statistics.";

    // What became of Suricata's alerts.
    counter SURICATA_ALERTS = "ids_suricata_alerts_total" []
        "Alerts of Suricata that were heard.";
    counter SURICATA_JOINED = "ids_suricata_joined_total" [label::BY]
        "Alerts of Suricata whose flow was found, by what names it.";
    counter SURICATA_ORPHANS = "ids_suricata_orphans_total" [label::REASON]
        "Alerts of Suricata without a flow, by reason.";
    counter SURICATA_SIGNATURES = "ids_suricata_signatures_total" [label::WHAT]
        "Signatures of flows: worth telling by themselves, or held back by a threshold.";
    counter SURICATA_EVENTS = "ids_suricata_events_total" [label::FLOW]
        "Events with names, requests and files, by whether their flow was known.";
    gauge SURICATA_WAITING_ALERTS = "ids_suricata_waiting_alerts" []
        "Alerts of Suricata that wait for their flow.";
    gauge SURICATA_JOIN_RATIO = "ids_suricata_join_ratio" []
        "Share of Suricata's settled alerts whose flow was found.";
    gauge SURICATA_JOIN_LAG_SECONDS = "ids_suricata_join_lag_seconds" []
        "From the packet to the join of the alert that was joined last.";

    // The service.
    gauge SANDBOX = "ids_sandbox" [label::PART]
        "Whether a part of the sandbox holds.";

    // The budget, and what is seen.
    gauge BUDGET_LEVEL = "ids_budget_level" []
        "How much is given up: 0 nothing, 3 nearly everything.";
    gauge BUDGET_TABLES_RATIO = "ids_budget_tables_ratio" []
        "Share of their configured size that tables have.";
    gauge BUDGET_LOAD_RATIO = "ids_budget_load_ratio" [label::OF]
        "What is taken, in shares of the budget.";
    counter BUDGET_OVER = "ids_budget_over_total" [label::REASON]
        "Samples that were over the budget.";
    gauge BUDGET_CPUS = "ids_budget_cpus" [label::BY]
        "CPU time a second that is taken, in CPUs.";
    gauge BUDGET_LIMIT_CPUS = "ids_budget_limit_cpus" []
        "CPU time a second that may be taken, in CPUs.";
    gauge BUDGET_MEMORY_BYTES = "ids_budget_memory_bytes" []
        "Memory that is taken.";
    gauge BUDGET_LIMIT_MEMORY_BYTES = "ids_budget_limit_memory_bytes" []
        "Memory that may be taken.";
    gauge BUDGET_PACKET_COST_NANOSECONDS = "ids_budget_packet_cost_nanoseconds" [label::SOURCE]
        "CPU time of the kernel programs a packet: measured, or assumed where the kernel does not tell.";
    gauge BUDGET_TEMPERATURE_CELSIUS = "ids_budget_temperature_celsius" []
        "The board's warmest sensor; 0 without one.";
    gauge COVERAGE = "ids_coverage" [label::DETECTOR]
        "Share of what a detector could see that it sees.";
    gauge VISIBILITY_DEGRADED = "ids_visibility_degraded" [label::CAUSE]
        "Whether less is seen for this cause.";
    counter VISIBILITY_NOTICES = "ids_visibility_notices_total" [label::KIND]
        "Notices of what is seen.";

    // A Suricata that the agent runs.
    gauge SURICATA_PROCESS_RUNNING = "ids_suricata_process_running" []
        "Whether the managed Suricata runs.";
    gauge SURICATA_PROCESS_ANSWERS = "ids_suricata_process_answers" []
        "Whether it answers at its command socket.";
    counter SURICATA_PROCESS_STARTS = "ids_suricata_process_starts_total" []
        "Times Suricata was started.";
    gauge SURICATA_PROCESS_RESIDENT_MEMORY_BYTES = "ids_suricata_process_resident_memory_bytes" []
        "Memory that Suricata takes.";
    counter SURICATA_PROCESS_CPU_SECONDS = "ids_suricata_process_cpu_seconds_total" []
        "CPU time that Suricata took.";
    gauge SURICATA_RULES_IN_FORCE = "ids_suricata_rules_in_force" [label::STATE]
        "Rules as Suricata counts them.";
    gauge SURICATA_RULES_CHECKED_TIMESTAMP_SECONDS = "ids_suricata_rules_checked_timestamp_seconds" []
        "When the rules' sources were last fetched.";
    counter SURICATA_RULE_UPDATES = "ids_suricata_rule_updates_total" [label::RESULT]
        "Fetches of the rules.";
    counter SURICATA_EVE_ROTATED = "ids_suricata_eve_rotated_total" []
        "Times its eve.json was rotated.";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_follow_the_conventions_and_stand_once() {
        let names: BTreeSet<&str> = ALL.iter().map(|family| family.name).collect();
        assert_eq!(names.len(), ALL.len());
        for family in ALL {
            assert!(family.name.starts_with("ids_"), "{family:?}");
            assert_eq!(family.kind == FamilyKind::Counter, family.name.ends_with("_total"), "{family:?}");
            assert!(family.help.ends_with('.'), "{family:?}");
        }
    }
}
