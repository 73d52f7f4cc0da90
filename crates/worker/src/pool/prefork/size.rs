//! How many children there are, and that all of them are new: what remote control changes.

use tokio::time::Instant;

use super::doom::Doom;
use super::member::Member;
use super::supervisor::Supervisor;

impl Supervisor {
    /// Makes the pool as large as that, at least one child. A child that is one too many ends when it has ended its task.
    pub(super) fn resize(&mut self, processes: usize, now: Instant) {
        if self.is_closing {
            return;
        }
        let kept = self.members.iter().filter(|member| !member.is_surplus).count();
        for _ in kept..processes {
            self.add(now);
        }
        for _ in processes.max(1)..kept {
            self.drop_one(now);
        }
    }

    /// Ends every child once it has ended its task. Others take their places.
    pub(super) fn restart(&mut self, now: Instant) {
        for index in 0..self.members.len() {
            self.condemn(index, Doom::Restarted, now);
            self.changed(index);
        }
    }

    /// One slot more, in the place of one that was given up if there is such a one.
    fn add(&mut self, now: Instant) {
        let given_up = |member: &Member| member.is_surplus && member.slot.is_closed();
        let place = self.members.iter().position(given_up);
        let index = place.unwrap_or_else(|| {
            self.members.push(Member::new(self.options.rules(), now));
            self.members.len() - 1
        });
        self.members[index] = Member::new(self.options.rules(), now);
        self.board.grow(self.members.len());
        self.board.edit(index, |row| *row = Default::default());
        self.changed(index);
    }

    /// One slot less: the one with the least to do.
    fn drop_one(&mut self, now: Instant) {
        let kept = self.members.iter().enumerate().filter(|(_, member)| !member.is_surplus);
        let least = kept.min_by_key(|(_, member)| (member.slot.is_open(), member.slot.given()));
        let Some(index) = least.map(|(index, _)| index) else { return };
        self.members[index].is_surplus = true;
        self.condemn(index, Doom::Surplus, now);
        // Without a child it is over at once.
        self.members[index].slot.close();
        self.changed(index);
    }
}
