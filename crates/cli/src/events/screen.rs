//! The full-screen view: what is drawn of a picture, and what keys do to it. Pure.

use celeriac_protocol::Timestamp;
use ratatui::Frame;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Style, Stylize as _};
use ratatui::text::Line;
use ratatui::widgets::{Block, Paragraph, Row, Table, TableState, Wrap};

use super::picture::{Picture, Task};
use crate::table::printable;
use crate::values::show_age;

/// The most rows of workers that are shown beside tasks.
const ROWS_OF_WORKERS: usize = 8;

/// How far the keys for a page go, in rows.
const PAGE: usize = 10;

const KEYS: &str = " ↑↓ select  PgUp PgDn  Home End  Enter detail  Esc back  q quit";

/// What the person at the terminal looks at.
#[derive(Debug, Default)]
pub(super) struct Screen {
    /// The id of the selected task, which keeps its selection while others come; none is the newest, whichever that is.
    selected: Option<String>,
    /// Whether all that is known of it is shown.
    in_detail: bool,
    /// Where the detail is scrolled to, in lines.
    scrolled: usize,
    /// What is wrong with hearing events, if anything.
    pub(super) trouble: Option<String>,
}

impl Screen {
    /// Takes in a key, and says whether the view goes on.
    pub(super) fn press(&mut self, key: KeyEvent, picture: &Picture) -> bool {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('q') => return false,
            KeyCode::Char('c') if is_control => return false,
            KeyCode::Esc => self.in_detail = false,
            KeyCode::Enter => {
                self.selected = self.task(picture).map(|task| task.id.clone());
                (self.in_detail, self.scrolled) = (!self.in_detail && self.selected.is_some(), 0);
            }
            KeyCode::Up | KeyCode::Char('k') => self.go(picture, |row| row.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.go(picture, |row| row + 1),
            KeyCode::PageUp => self.go(picture, |row| row.saturating_sub(PAGE)),
            KeyCode::PageDown => self.go(picture, |row| row + PAGE),
            KeyCode::Home => self.go(picture, |_| 0),
            KeyCode::End => self.go(picture, |_| usize::MAX),
            _ => {}
        }
        true
    }

    /// Goes to another row, or scrolls the detail.
    fn go(&mut self, picture: &Picture, to: impl Fn(usize) -> usize) {
        if self.in_detail {
            // The age of the last event makes no difference.
            let lines = self.task(picture).map_or(0, |task| lines_of(task, Timestamp::from_micros(0)).len());
            self.scrolled = to(self.scrolled).min(lines.saturating_sub(1));
            return;
        }
        let row = to(self.row(picture)).min(picture.len().saturating_sub(1));
        self.selected = match row {
            0 => None,
            row => picture.newest().nth(row).map(|task| task.id.clone()),
        };
    }

    fn row(&self, picture: &Picture) -> usize {
        let selected = self.selected.as_deref();
        selected.and_then(|id| picture.newest().position(|task| task.id == id)).unwrap_or(0)
    }

    fn task<'a>(&self, picture: &'a Picture) -> Option<&'a Task> {
        match &self.selected {
            Some(id) => picture.find(id).or_else(|| picture.newest().next()),
            None => picture.newest().next(),
        }
    }

    /// Draws everything.
    pub(super) fn draw(&self, frame: &mut Frame<'_>, picture: &Picture, now: Timestamp) {
        let workers = picture.workers.len().clamp(1, ROWS_OF_WORKERS) as u16 + 3;
        let heights =
            [Constraint::Length(1), Constraint::Max(workers), Constraint::Min(3), Constraint::Length(1)];
        let [top, of_workers, of_tasks, bottom] = Layout::vertical(heights).areas(frame.area());
        frame.render_widget(Line::from(self.title(picture, now)).bold(), top);
        draw_workers(frame, of_workers, picture, now);
        match self.task(picture).filter(|_| self.in_detail) {
            Some(task) => self.draw_detail(frame, of_tasks, task, now),
            None => self.draw_tasks(frame, of_tasks, picture, now),
        }
        frame.render_widget(Line::from(KEYS).dim(), bottom);
    }

    fn title(&self, picture: &Picture, now: Timestamp) -> String {
        let alive = picture.workers.values().filter(|worker| worker.is_alive(now)).count();
        let rate = picture.workers.values().fold(0.0, |sum, worker| sum + worker.rate(now));
        let mut title = format!(
            " {alive} of {} workers alive, {} tasks, {rate:.1} ended per second, {} events",
            picture.workers.len(),
            picture.len(),
            picture.events
        );
        if let Some(trouble) = &self.trouble {
            title = format!("{title}; {}", printable(trouble));
        }
        title
    }

    fn draw_tasks(&self, frame: &mut Frame<'_>, area: Rect, picture: &Picture, now: Timestamp) {
        let widths = [
            Constraint::Length(8),
            Constraint::Fill(3),
            Constraint::Fill(3),
            Constraint::Fill(2),
            Constraint::Length(11),
            Constraint::Length(10),
        ];
        // Rows that are out of sight cost nothing.
        let height = usize::from(area.height.saturating_sub(3)).max(1);
        let row = self.row(picture);
        let first = (row + 1).saturating_sub(height);
        let rows = picture.newest().skip(first).take(height).map(|task| row_of(task, now));
        let table = Table::new(rows, widths)
            .header(Row::new(["STATE", "TASK", "ID", "WORKER", "LAST EVENT", "RUNTIME"]).bold())
            .row_highlight_style(Style::new().reversed())
            .block(Block::bordered().title(" Tasks, newest first "));
        let mut state = TableState::default().with_selected((picture.len() > 0).then(|| row - first));
        frame.render_stateful_widget(table, area, &mut state);
    }

    fn draw_detail(&self, frame: &mut Frame<'_>, area: Rect, task: &Task, now: Timestamp) {
        let lines = lines_of(task, now);
        // What is told meanwhile may be shorter.
        let scrolled = self.scrolled.min(lines.len().saturating_sub(1));
        let scrolled = u16::try_from(scrolled).unwrap_or(u16::MAX);
        let detail = Paragraph::new(lines).wrap(Wrap { trim: false }).scroll((scrolled, 0));
        frame.render_widget(detail.block(Block::bordered().title(" Task ")), area);
    }
}

/// All that is known of a task.
fn lines_of(task: &Task, now: Timestamp) -> Vec<Line<'static>> {
    let mut lines = vec![
        fact("id", &task.id),
        fact("task", &task.name),
        fact("state", task.state),
        fact("worker", &task.worker),
        fact("last event", &task.at.map_or_else(String::new, |at| show_age(at, now))),
        fact("runtime", &runtime(task)),
    ];
    for (name, value) in &task.facts {
        let mut parts = value.lines();
        lines.push(fact(name, parts.next().unwrap_or_default()));
        lines.extend(parts.map(|part| Line::from(format!("{:14}{}", "", printable(part)))));
    }
    lines
}

fn fact(name: &str, value: &str) -> Line<'static> {
    Line::from(format!(" {:<12} {}", printable(name), printable(value)))
}

fn draw_workers(frame: &mut Frame<'_>, area: Rect, picture: &Picture, now: Timestamp) {
    let widths = [
        Constraint::Fill(1),
        Constraint::Length(7),
        Constraint::Length(7),
        Constraint::Length(10),
        Constraint::Length(8),
        Constraint::Length(14),
        Constraint::Length(16),
    ];
    // Those that live come first, if not all have room.
    let mut workers: Vec<_> = picture.workers.iter().collect();
    workers.sort_by_key(|(_, worker)| !worker.is_alive(now));
    let rows = workers.into_iter().take(ROWS_OF_WORKERS).map(|(name, worker)| {
        let alive = worker.is_alive(now);
        let cells = [
            printable(name),
            if alive { "yes" } else { "no" }.to_owned(),
            worker.active.to_string(),
            worker.processed.to_string(),
            format!("{:.1}/s", worker.rate(now)),
            printable(&worker.load),
            printable(&worker.software),
        ];
        Row::new(cells).style(Style::new().fg(if alive { Color::Reset } else { Color::Red }))
    });
    let table = Table::new(rows, widths)
        .header(Row::new(["WORKER", "ALIVE", "ACTIVE", "PROCESSED", "ENDED", "LOAD", "SOFTWARE"]).bold())
        .block(Block::bordered().title(" Workers "));
    frame.render_widget(table, area);
}

fn row_of(task: &Task, now: Timestamp) -> Row<'static> {
    let color = match task.state {
        "SUCCESS" => Color::Green,
        "FAILURE" | "REJECTED" => Color::Red,
        "RETRY" | "REVOKED" => Color::Yellow,
        "STARTED" => Color::Cyan,
        _ => Color::Reset,
    };
    let age = task.at.map_or_else(String::new, |at| show_age(at, now));
    let texts = [task.state, &task.name, &task.id, &task.worker].map(printable);
    let [state, name, id, worker] = texts;
    Row::new([state, name, id, worker, age, runtime(task)]).style(Style::new().fg(color))
}

fn runtime(task: &Task) -> String {
    task.runtime.map_or_else(String::new, |seconds| format!("{seconds:.3}s"))
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Cell;

    use super::super::picture::tests::{at, picture};
    use super::*;

    /// What is on the screen, 100 columns wide and 20 rows high.
    fn shown(screen: &Screen, picture: &Picture) -> String {
        let mut terminal = Terminal::new(TestBackend::new(100, 20)).unwrap();
        terminal.draw(|frame| screen.draw(frame, picture, at(20))).unwrap();
        let buffer = terminal.backend().buffer();
        let text = |row: &[Cell]| row.iter().map(Cell::symbol).collect::<String>();
        let lines = buffer.content().chunks(100).map(text);
        lines.map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    fn busy() -> Picture {
        picture(&[
            r#"{"type": "worker-offline", "hostname": "old@h", "timestamp": 1}"#,
            r#"{"type": "task-received", "uuid": "id-1", "name": "t.fails", "args": "(1,)", "kwargs": "{}", "hostname": "w@h", "timestamp": 10}"#,
            r#"{"type": "task-failed", "uuid": "id-1", "exception": "ValueError('no')", "traceback": "Traceback:\n  line 1\u001b[2J\nValueError: no", "hostname": "w@h", "timestamp": 11}"#,
            r#"{"type": "task-received", "uuid": "id-2", "name": "t.add", "args": "(1, 2)", "hostname": "w@h", "timestamp": 15}"#,
            r#"{"type": "task-succeeded", "uuid": "id-2", "result": "3", "runtime": 0.25, "hostname": "w@h", "timestamp": 16}"#,
            r#"{"type": "task-sent", "uuid": "id-3", "name": "t.add", "hostname": "gen1@h", "timestamp": 17}"#,
            r#"{"type": "worker-heartbeat", "hostname": "w@h", "freq": 2.0, "active": 1, "processed": 7, "loadavg": [0.5, 0.25, 0.1], "sw_ident": "celeriac", "sw_ver": "0.1.0", "timestamp": 18}"#,
        ])
    }

    fn press(screen: &mut Screen, code: KeyCode, picture: &Picture) -> bool {
        screen.press(KeyEvent::from(code), picture)
    }

    #[test]
    fn workers_and_tasks_are_shown() {
        assert_eq!(shown(&Screen::default(), &busy()), include_str!("../../tests/screens/tasks.txt"));
    }

    #[test]
    fn nothing_is_shown_before_anything_was_told() {
        let screen = Screen { trouble: Some("lost\u{1b}".to_owned()), ..Screen::default() };
        assert_eq!(shown(&screen, &Picture::default()), include_str!("../../tests/screens/empty.txt"));
    }

    #[test]
    fn a_task_is_shown_in_detail() {
        let (mut screen, picture) = (Screen::default(), busy());
        press(&mut screen, KeyCode::Down, &picture);
        press(&mut screen, KeyCode::Down, &picture);
        press(&mut screen, KeyCode::Enter, &picture);
        assert_eq!(shown(&screen, &picture), include_str!("../../tests/screens/detail.txt"));
        press(&mut screen, KeyCode::Esc, &picture);
        assert!(shown(&screen, &picture).contains("Tasks, newest first"));
    }

    #[test]
    fn the_detail_scrolls_between_its_first_and_its_last_line() {
        let (mut screen, picture) = (Screen::default(), busy());
        press(&mut screen, KeyCode::End, &picture);
        press(&mut screen, KeyCode::Enter, &picture);
        let top = shown(&screen, &picture);
        press(&mut screen, KeyCode::End, &picture);
        let end = shown(&screen, &picture);
        assert!(end.contains("ValueError: no") && !end.contains("t.fails"), "{end}");
        press(&mut screen, KeyCode::PageDown, &picture);
        assert_eq!(shown(&screen, &picture), end, "there is no further");
        press(&mut screen, KeyCode::Up, &picture);
        assert_ne!(shown(&screen, &picture), end);
        press(&mut screen, KeyCode::Home, &picture);
        assert_eq!(shown(&screen, &picture), top);
    }

    #[test]
    fn a_selection_stays_with_its_task() {
        let (mut screen, picture) = (Screen::default(), busy());
        press(&mut screen, KeyCode::Char('j'), &picture);
        assert_eq!(screen.task(&picture).unwrap().id, "id-2");
        let mut more = busy();
        let event = celeriac_protocol::json::parse(
            br#"{"type": "task-received", "uuid": "id-4", "hostname": "w@h"}"#,
        );
        more.hear(&event.unwrap(), at(19));
        assert_eq!((screen.task(&more).unwrap().id.as_str(), screen.row(&more)), ("id-2", 2));
        press(&mut screen, KeyCode::End, &more);
        assert_eq!(screen.task(&more).unwrap().id, "id-1");
        press(&mut screen, KeyCode::PageUp, &more);
        assert_eq!(screen.task(&more).unwrap().id, "id-4");
    }

    #[test]
    fn q_and_control_c_end_the_view() {
        let (mut screen, picture) = (Screen::default(), busy());
        assert!(press(&mut screen, KeyCode::Char('c'), &picture));
        assert!(!press(&mut screen, KeyCode::Char('q'), &picture));
        let control_c = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
        assert!(!screen.press(control_c, &picture));
    }

    #[test]
    fn a_small_terminal_is_no_reason_to_panic() {
        for (width, height) in [(1, 1), (3, 2), (20, 5)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| Screen::default().draw(frame, &busy(), at(20))).unwrap();
        }
    }
}
