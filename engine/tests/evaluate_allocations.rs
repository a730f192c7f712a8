//! A line that nothing comes of costs no allocation: what an output costs does not grow with its number of lines.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use jiff::Timestamp;
use tripline_engine::decision::{Body, Input};
use tripline_engine::{MemoryState, RuleSet, Settings, SourceFile, compile};
use tripline_schemas::event::Event;
use tripline_schemas::{Ending, Format, Key, Run, RunId};

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

/// The system's allocator, and how often each thread asked it for memory.
struct Counting;

// SAFETY: every call goes to the system's allocator as it is.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the promises of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the promises of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(rules: &RuleSet, output: String) -> usize {
    let event = Event::Output(Run {
        id: RunId { spool: uuid::Uuid::nil(), sequence: 1 },
        key: Key::new("web-1", "ps").expect("a good key"),
        address: None,
        command_line: "ps".to_owned(),
        alias: None,
        format: Format::Command,
        started: Timestamp::UNIX_EPOCH,
        duration_ms: 1,
        start_delay_ms: None,
        ending: Ending::Exited(0),
        truncated_from: None,
        stderr_tail: Vec::new(),
        collector: "test".to_owned(),
        output: output.into_bytes(),
    });
    let append_time = Timestamp::UNIX_EPOCH;
    let input = Input { body: Body::Event(&event), append_time, source: None, overtaken: false, duplicate_agent: None };
    let state = MemoryState::default();
    let evaluate = || rules.evaluate(&input, &state).expect("memory can be read");
    evaluate(); // Pattern engines make their caches at first use.
    let before = ALLOCATIONS.get();
    let decision = evaluate();
    let after = ALLOCATIONS.get();
    assert_eq!((decision.alerts.len(), decision.lines.len()), (0, 0));
    after - before
}

#[test]
fn a_line_that_nothing_comes_of_costs_no_allocation() {
    let text = r#"<group name="local,">
        <rule id="100100" level="7"><if_sid>530</if_sid><match>nowhere</match></rule>
        <rule id="100101" level="7"><if_sid>530</if_sid><match>^ossec|nothing$</match><regex>pid \d+ \w+ zombie</regex></rule>
        <rule id="100102" level="7"><if_sid>530</if_sid><match>not here</match><check_diff /></rule>
    </group>"#;
    let file = SourceFile { name: "test.xml".to_owned(), text: text.as_bytes().to_vec() };
    let rules = compile(&[file], &Settings::default()).expect("good rules");
    let lines = |count: usize| "root pid 4711 sleeping\n".repeat(count);
    assert_eq!(allocations(&rules, lines(10)), allocations(&rules, lines(1000)));
}
