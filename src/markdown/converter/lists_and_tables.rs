//! Lists, tasks and tables: where their items and rows belong.

use super::{Converter, REACH, State};
use crate::markdown::tables::Table;

impl<'a> Converter<'a> {
    pub(super) fn begin_list(&mut self, start: Option<u32>) -> State<'a> {
        self.flush();
        let outer = match self.stack.last().map(|frame| &frame.state) {
            Some(State::List(list) | State::NestedList(list)) if list.items > 0 => Some(*list),
            _ => None,
        };
        if let Some(outer) = outer
            && self.level().blocks.resume_item(&outer)
        {
            return State::NestedList(self.level().blocks.begin_list(start));
        }
        State::List(self.level().blocks.begin_list(start))
    }

    pub(super) fn begin_item(&mut self, task: Option<bool>) -> State<'a> {
        self.flush();
        let cells = self.cells.get_mut(..self.open_cells).unwrap_or_default();
        let level = cells.last_mut().unwrap_or(&mut self.document);
        let list = self.stack.iter_mut().rev().take(REACH).find_map(|frame| match &mut frame.state {
            State::List(list) | State::NestedList(list) => Some(Some(list)),
            State::Cell(_) => Some(None),
            _ => None,
        });
        match list.flatten() {
            Some(list) => {
                level.blocks.begin_item(list, task);
                State::Container
            }
            None => State::Stray,
        }
    }

    pub(super) fn begin_task(&mut self) {
        let done = self.nearest(|frame| match &frame.state {
            State::Task { done, open } => Some((!open).then_some(*done)),
            _ => None,
        });
        let done = done.flatten();
        if done.is_none() {
            // Without a task nothing would end the item; a second body goes on with the first one's.
            self.flush();
        } else if matches!(self.begin_item(done), State::Container) {
            self.nearest(|frame| match &mut frame.state {
                State::Task { open, .. } => {
                    *open = true;
                    Some(())
                }
                _ => None,
            });
        }
    }

    pub(super) fn end_table(&mut self, mut table: Box<Table>) {
        self.flush();
        self.tables -= 1;
        if self.level().blocks.in_cell() {
            for line in table.flatten() {
                self.level().blocks.paragraph(&line);
            }
        } else {
            let mut lines = std::mem::take(&mut self.lines);
            lines.clear();
            let cut = table.write(&mut lines, &mut self.allowance);
            self.level().blocks.lines(&lines);
            self.lines = lines;
            if cut > 0 {
                self.notice("cells of spans cut", cut);
            }
        }
        table.clear();
        self.spare_table = Some(table);
    }
}
