//! Publishing and finishing where results, groups and chords live on another server than messages.
//!
//! Nothing is one step then, so the order is what keeps workflows whole: a chord begins before its header is published,
//! and what a chord closes with is published before the part that closes it is counted. After a crash in between, the
//! same is done again: each member counts once, and messages keep the ids of their tasks.

use std::mem::take;

use celeriac_protocol::Value;

use crate::{
    Broker, ChordPart, Closing, Counted, Finish, Groups, Publication, Result, ResultBackend, Settled, Settler,
};

/// The two servers.
pub(crate) struct Servers<'a> {
    pub broker: &'a dyn Broker,
    pub results: &'a dyn ResultBackend,
    pub groups: &'a dyn Groups,
}

/// What one finish means for chords, and what it publishes.
#[derive(Default)]
struct Ending {
    publication: Publication,
    parts: Vec<(ChordPart, Counted)>,
}

impl Servers<'_> {
    /// Publishes messages, after what must be there before them.
    pub(crate) async fn publish(&self, mut publication: Publication) -> Result<()> {
        self.prepare(&mut publication).await?;
        if publication.messages.is_empty() {
            return Ok(());
        }
        self.broker.publish(publication).await
    }

    /// Does everything but publishing the messages, which are left.
    async fn prepare(&self, publication: &mut Publication) -> Result<()> {
        let Publication { messages: _, chords, extended, groups } = publication;
        if !chords.is_empty() {
            self.groups.begin(take(chords)).await?;
        }
        if !extended.is_empty() {
            self.groups.extend(take(extended)).await?;
        }
        if !groups.is_empty() {
            self.groups.save(take(groups)).await?;
        }
        Ok(())
    }

    /// As [`Settler::finish`].
    pub(crate) async fn finish(
        &self,
        settler: &dyn Settler,
        mut finishes: Vec<Finish>,
    ) -> Result<Vec<Settled>> {
        let mut completes = vec![false; finishes.len()];
        let mut endings = self.foresee(&mut finishes, &mut completes).await?;
        self.prepare_all(&mut endings).await?;
        self.store_results(&mut finishes, &completes).await?;
        // A part that closes nothing takes nothing with it. If it turns out to be the last, what comes with it waits.
        if self.count_open(&mut endings, &mut completes).await? {
            self.prepare_all(&mut endings).await?;
        }
        let messages: Publication = endings
            .iter_mut()
            .zip(&completes)
            .filter(|(_, completes)| !**completes)
            .flat_map(|(ending, _)| take(&mut ending.publication.messages))
            .collect();
        if !messages.messages.is_empty() {
            self.broker.publish(messages).await?;
        }
        self.count_closing(endings).await?;
        settle(settler, finishes, &completes).await
    }

    /// Takes what is to be published and counted out of the finishes, except of those that complete a chord.
    async fn foresee(&self, finishes: &mut [Finish], completes: &mut [bool]) -> Result<Vec<Ending>> {
        let parts = finishes.iter().flat_map(|finish| &finish.workflow).flat_map(|workflow| &workflow.parts);
        let counted = self.ask(&parts.map(outline).collect::<Vec<_>>()).await?;
        let mut counted = counted.into_iter();
        let mut endings = Vec::with_capacity(finishes.len());
        for (finish, completes) in finishes.iter_mut().zip(completes) {
            let parts = finish.workflow.iter().flat_map(|workflow| &workflow.parts);
            let of_parts: Vec<Counted> = counted.by_ref().take(parts.clone().count()).collect();
            let extended = finish.workflow.iter().flat_map(|workflow| &workflow.publication.extended);
            let is_extended = |part: &ChordPart| extended.clone().any(|(chord, _)| *chord == part.chord);
            *completes = parts.zip(&of_parts).any(|(part, counted)| {
                counted.closes() && matches!(part.closing, Closing::Ask) && !is_extended(part)
            });
            endings.push(if *completes { Ending::default() } else { Ending::of(finish, of_parts) });
        }
        Ok(endings)
    }

    /// Does everything but publishing the messages, which are left, also of what chords close with.
    async fn prepare_all(&self, endings: &mut [Ending]) -> Result<()> {
        self.find_closings(endings).await?;
        for ending in endings {
            self.prepare(&mut ending.publication).await?;
        }
        Ok(())
    }

    /// Adds what chords close with to what is published, outer chords included.
    async fn find_closings(&self, endings: &mut [Ending]) -> Result<()> {
        let mut found: Vec<Publication> = endings.iter().map(|_| Publication::default()).collect();
        let mut level = Vec::new();
        for (index, ending) in endings.iter_mut().enumerate() {
            for (part, counted) in &mut ending.parts {
                close(part, *counted, (index, &mut found[index]), &mut level);
            }
        }
        while !level.is_empty() {
            let parts: Vec<ChordPart> = level.iter().map(|(_, part)| outline(part)).collect();
            let mut outer = Vec::new();
            for ((index, part), counted) in level.into_iter().zip(self.ask(&parts).await?) {
                close(part, counted, (index, &mut found[index]), &mut outer);
            }
            level = outer;
        }
        endings.iter_mut().zip(found).for_each(|(ending, found)| ending.publication.append(found));
        Ok(())
    }

    async fn ask(&self, parts: &[ChordPart]) -> Result<Vec<Counted>> {
        if parts.is_empty() { Ok(Vec::new()) } else { self.groups.foresee(parts).await }
    }

    async fn store_results(&self, finishes: &mut [Finish], completes: &[bool]) -> Result<()> {
        let mut results = Vec::new();
        for (finish, completes) in finishes.iter_mut().zip(completes) {
            if !completes {
                results.extend(finish.result.take());
                results.extend(finish.workflow.iter_mut().flat_map(|workflow| take(&mut workflow.results)));
            }
        }
        if results.is_empty() { Ok(()) } else { self.results.store(results).await }
    }

    /// Counts the parts that close nothing, as far as could be foreseen. Says whether one was not counted that closes its
    /// chord after all, and knows with what.
    async fn count_open(&self, endings: &mut [Ending], completes: &mut [bool]) -> Result<bool> {
        let mut of = Vec::new();
        let mut open = Vec::new();
        for (index, ending) in endings.iter_mut().enumerate() {
            for (part, _) in ending.parts.extract_if(.., |(_, counted)| !counted.closes()) {
                of.push((index, matches!(part.closing, Closing::Known(_)).then(|| part.clone())));
                // Without what it would close with, which is not published.
                open.push(ChordPart { closing: Closing::Ask, ..part });
            }
        }
        if open.is_empty() {
            return Ok(false);
        }
        let mut closes = false;
        let counted = of.into_iter().zip(self.groups.count(open).await?);
        for ((index, known), counted) in counted.filter(|(_, counted)| counted.closes()) {
            match known {
                Some(part) => endings[index].parts.push((part, counted)),
                None => completes[index] = true,
            }
            closes |= !completes[index];
        }
        let waiting = endings.iter_mut().zip(completes).filter(|(_, completes)| **completes);
        waiting.for_each(|(ending, _)| ending.parts.clear());
        Ok(closes)
    }

    /// Counts the parts that close chords: what these close with has been published.
    async fn count_closing(&self, endings: Vec<Ending>) -> Result<()> {
        let closing: Vec<ChordPart> =
            endings.into_iter().flat_map(|ending| ending.parts).map(|(part, _)| part).collect();
        if !closing.is_empty() {
            self.groups.count(closing).await?;
        }
        Ok(())
    }
}

impl Ending {
    fn of(finish: &mut Finish, counted: Vec<Counted>) -> Self {
        let mut publication: Publication = take(&mut finish.follow_ups).into();
        let Some(workflow) = &mut finish.workflow else { return Self { publication, parts: Vec::new() } };
        publication.append(take(&mut workflow.publication));
        let mut parts: Vec<_> = take(&mut workflow.parts).into_iter().zip(counted).collect();
        for (part, counted) in &mut parts {
            // One that asks gets here only if its own finish extends its chord.
            if counted.closes() && matches!(part.closing, Closing::Ask) {
                *counted = Counted::Open;
            }
        }
        // Its member had reported, or another part of this batch closes its chord first.
        parts.retain(|(_, counted)| *counted != Counted::Over);
        Self { publication, parts }
    }
}

/// If this part closes its chord: moves what that publishes to what was found, and adds its parts of outer chords.
fn close<'part>(
    part: &'part mut ChordPart,
    counted: Counted,
    (index, found): (usize, &mut Publication),
    outer: &mut Vec<(usize, &'part mut ChordPart)>,
) {
    if let (true, Closing::Known(closing)) = (counted.closes(), &mut part.closing) {
        found.append(take(&mut closing.publication));
        outer.extend(closing.parts.iter_mut().map(|part| (index, part)));
    }
}

/// A part without what is large, to ask what it would bring.
fn outline(part: &ChordPart) -> ChordPart {
    let closing = match part.closing {
        Closing::Ask => Closing::Ask,
        Closing::Known(_) => Closing::Known(Box::default()),
    };
    ChordPart {
        chord: part.chord.clone(),
        member: part.member.clone(),
        index: part.index,
        state: part.state.clone(),
        result: Value::Null,
        adds: part.adds,
        expires_after: part.expires_after,
        closing,
    }
}

/// Settles what does not complete a chord; what it brings about has been done.
async fn settle(settler: &dyn Settler, finishes: Vec<Finish>, completes: &[bool]) -> Result<Vec<Settled>> {
    let left: Vec<Finish> = finishes
        .into_iter()
        .zip(completes)
        .filter(|(_, completes)| !**completes)
        .map(|(finish, _)| Finish { workflow: None, ..finish })
        .collect();
    let mut settled = if left.is_empty() { Vec::new() } else { settler.finish(left).await? }.into_iter();
    let answer = |completes: &bool| match completes {
        true => Some(Settled::Completes),
        false => settled.next(),
    };
    Ok(completes.iter().map_while(answer).collect())
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use celeriac_protocol::{GroupId, QueueName, State, TaskId};

    use super::*;
    use crate::Consequences;
    use crate::clock::Clock;
    use crate::memory::MemoryStore;
    use crate::{Chord, NewChord, Publish, Route, SavedGroup};

    /// Chords of which somebody else reports the last but one member between the look and the count.
    struct Raced(MemoryStore);

    #[async_trait]
    impl Groups for Raced {
        async fn save(&self, groups: Vec<SavedGroup>) -> Result<()> {
            self.0.save(groups).await
        }

        async fn restore(&self, groups: &[GroupId]) -> Result<Vec<Option<Value>>> {
            self.0.restore(groups).await
        }

        async fn forget(&self, groups: &[GroupId]) -> Result<()> {
            Groups::forget(&self.0, groups).await
        }

        async fn begin(&self, chords: Vec<NewChord>) -> Result<()> {
            self.0.begin(chords).await
        }

        async fn extend(&self, chords: Vec<(GroupId, u64)>) -> Result<()> {
            self.0.extend(chords).await
        }

        async fn chord(&self, chord: &GroupId) -> Result<Option<Chord>> {
            self.0.chord(chord).await
        }

        async fn foresee(&self, parts: &[ChordPart]) -> Result<Vec<Counted>> {
            self.0.foresee(parts).await
        }

        async fn count(&self, parts: Vec<ChordPart>) -> Result<Vec<Counted>> {
            self.0.count(vec![part("other")]).await?;
            self.0.count(parts).await
        }
    }

    fn part(member: &str) -> ChordPart {
        ChordPart {
            chord: GroupId::new("chord"),
            member: TaskId::new(member),
            index: None,
            state: State::Success,
            result: Value::Null,
            adds: 0,
            expires_after: std::time::Duration::MAX,
            closing: Closing::Ask,
        }
    }

    fn publish(queue: &QueueName) -> Publish {
        Publish { route: Route::to(queue), message: celeriac_protocol::Message::default(), due: None }
    }

    struct Place {
        store: MemoryStore,
        settler: std::sync::Arc<dyn Settler>,
    }

    impl Place {
        /// With a chord of two, of which somebody else reports one between the look and the count.
        async fn new(name: &str) -> Self {
            let store = MemoryStore::open(name, Clock::system(), usize::MAX);
            let life = std::time::Duration::MAX;
            let chord = NewChord { id: GroupId::new("chord"), size: 2, expires_after: life };
            store.begin(vec![chord]).await.unwrap();
            let options = crate::ConsumeOptions {
                queues: vec![QueueName::new("next")],
                prefetch: 1,
                lease: life,
                worker: "w@here".to_owned(),
            };
            let settler = store.consume(options).await.unwrap().settler;
            Self { store, settler }
        }

        /// Finishes the other member, after which a message is to follow.
        async fn finish(&self, closing: Closing) -> Settled {
            let groups = Raced(self.store.clone());
            let servers = Servers { broker: &self.store, results: &self.store, groups: &groups };
            let parts = vec![ChordPart { closing, ..part("member") }];
            let finish = Finish {
                delivery: None,
                settle: crate::Settle::Ack,
                result: None,
                follow_ups: vec![publish(&QueueName::new("next"))],
                workflow: Some(Box::new(Consequences { parts, ..Consequences::default() })),
            };
            servers.finish(&*self.settler, vec![finish]).await.unwrap()[0]
        }

        /// How many messages follow, and how many bodies are sent.
        async fn sent(&self) -> [u64; 2] {
            let stats = self.store.queues(&["next", "bodies"].map(QueueName::new)).await.unwrap();
            [stats[0].ready, stats[1].ready]
        }
    }

    fn with_body() -> Closing {
        let publication = vec![publish(&QueueName::new("bodies"))].into();
        Closing::Known(Box::new(Consequences { publication, ..Consequences::default() }))
    }

    #[tokio::test]
    async fn of_two_members_that_end_at_once_one_is_told_and_publishes_nothing_before() {
        let place = Place::new("asks").await;
        assert_eq!(place.finish(Closing::Ask).await, Settled::Completes);
        assert_eq!(place.sent().await, [0, 0]);
        assert_eq!(place.finish(with_body()).await, Settled::Done);
        assert_eq!(place.sent().await, [1, 1]);
        assert_eq!(place.store.chord(&GroupId::new("chord")).await.unwrap(), None);
    }

    /// Its place is half of what it is known by.
    #[tokio::test]
    async fn a_member_that_reports_again_from_its_place_completes_nothing() {
        let place = Place::new("again").await;
        let report = ChordPart { index: Some(0), ..part("member") };
        place.store.count(vec![report.clone()]).await.unwrap();
        let servers = Servers { broker: &place.store, results: &place.store, groups: &place.store };
        let workflow = Some(Box::new(Consequences { parts: vec![report], ..Consequences::default() }));
        let finish = Finish {
            delivery: None,
            settle: crate::Settle::Ack,
            result: None,
            follow_ups: Vec::new(),
            workflow,
        };
        assert_eq!(servers.finish(&*place.settler, vec![finish]).await.unwrap(), [Settled::Done]);
    }

    #[tokio::test]
    async fn a_member_that_knows_its_closing_is_not_told_to_come_again() {
        let place = Place::new("knows").await;
        assert_eq!(place.finish(with_body()).await, Settled::Done);
        assert_eq!(place.sent().await, [1, 1]);
        assert_eq!(place.store.chord(&GroupId::new("chord")).await.unwrap(), None);
    }
}
