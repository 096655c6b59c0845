//! Islands of the new editor's own format: panels and decision lists (facts E5).

use super::{AdfNode, Converter, State};
use crate::markdown::tokenizer::Tag;

impl<'a> Converter<'a> {
    pub(super) fn begin_adf_node(&mut self, tag: &Tag<'a>) -> State<'a> {
        match tag.attribute("type").unwrap_or_default() {
            "decision-list" => self.begin_list(None),
            "panel" => State::AdfNode(AdfNode::Panel(None)),
            "decision-item" => State::AdfNode(AdfNode::DecisionItem),
            _ => State::AdfNode(AdfNode::Other),
        }
    }

    pub(super) fn begin_adf_content(&mut self, is_empty: bool) -> State<'a> {
        self.nearest(|frame| match &mut frame.state {
            State::Adf { shown, .. } => {
                *shown |= !is_empty;
                Some(())
            }
            _ => None,
        });
        let is_decision = matches!(
            self.stack.last().map(|frame| &frame.state),
            Some(State::AdfNode(AdfNode::DecisionItem))
        );
        if is_decision && !is_empty {
            return self.begin_item(None);
        }
        let panel = self.nearest(|frame| match &frame.state {
            State::AdfNode(AdfNode::Panel(panel)) => Some(Some(*panel)),
            State::AdfNode(_) | State::Container | State::Adf { .. } => Some(None),
            _ => None,
        });
        self.flush();
        match panel.flatten() {
            Some(panel) => {
                self.level().blocks.begin_quote(panel);
                State::Container
            }
            None => State::None,
        }
    }
}
