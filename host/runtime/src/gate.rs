//! The gate of one site: how many requests are in flight to it, whose turn it is, and when nobody may send.
//!
//! All sessions to a site share one gate, whatever their accounts. Nothing in here knows HTTP or wasmtime, so every
//! rule is tested with a paused clock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

/// Requests in flight to one site, at most; what Confluence tolerates.
pub(crate) const MAXIMUM_IN_FLIGHT: usize = 8;

/// How long an `X-RateLimit-NearLimit` halves the window.
const NEAR_LIMIT: Duration = Duration::from_secs(30);

/// Whose turn it is goes round by this: one number a tenant.
pub(crate) type TenantId = u64;

/// One site's gate. Cheap to share behind an [`Arc`].
pub(crate) struct Gate {
    state: Mutex<State>,
    /// Those who wait sleep until the gate opens; a gate that closes meanwhile has to tell them when that is.
    closed: Notify,
    this: Weak<Gate>,
}

/// The right to one request in flight, until it is dropped.
pub(crate) struct Permit {
    gate: Option<Arc<Gate>>,
}

struct State {
    in_flight: usize,
    high_water: usize,
    /// Requests in flight that are allowed now; 1 after the gate reopens, then one more with each success.
    window: usize,
    closed_until: Option<Instant>,
    near_limit_until: Option<Instant>,
    /// One queue a tenant, served in turn: a tenant with thousands waiting delays another by one request.
    queues: VecDeque<(TenantId, VecDeque<oneshot::Sender<Permit>>)>,
}

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            state: Mutex::new(State {
                in_flight: 0,
                high_water: 0,
                window: MAXIMUM_IN_FLIGHT,
                closed_until: None,
                near_limit_until: None,
                queues: VecDeque::new(),
            }),
            closed: Notify::new(),
            this: this.clone(),
        })
    }

    /// Waits for this tenant's turn. Dropping the future gives up the place in the queue.
    pub(crate) async fn acquire(&self, tenant: TenantId) -> Permit {
        let (sender, mut turn) = oneshot::channel();
        self.lock().enqueue(tenant, sender);
        loop {
            // Registered before the look at the gate, so that no closing falls between the two.
            let mut closed = std::pin::pin!(self.closed.notified());
            closed.as_mut().enable();
            self.dispatch();
            let reopens = self.lock().closed_until;
            tokio::select! {
                biased;
                permit = &mut turn => match permit {
                    Ok(permit) if !self.is_closed() => return permit,
                    // It closed after the permit was granted and before we got to run: back to the head of the queue.
                    Ok(permit) => {
                        let (sender, again) = oneshot::channel();
                        self.lock().enqueue_first(tenant, sender);
                        turn = again;
                        drop(permit);
                    }
                    // The sender lives in the queue of a gate that we hold: it cannot go without sending.
                    Err(_) => std::future::pending().await,
                },
                () = sleep_until(reopens) => {}
                () = closed => {}
            }
        }
    }

    /// Nobody sends for `wait` from now; then one does, then two, and so on.
    pub(crate) fn close_for(&self, wait: Duration) {
        let until = Instant::now() + wait;
        let mut state = self.lock();
        state.window = 1;
        if state.closed_until.is_none_or(|closed| closed < until) {
            state.closed_until = Some(until);
        }
        drop(state);
        self.closed.notify_waiters();
    }

    /// Halves the window for a while.
    pub(crate) fn near_limit(&self) {
        self.lock().near_limit_until = Some(Instant::now() + NEAR_LIMIT);
    }

    /// When the gate opens again, where it is closed now.
    pub(crate) fn closed_until(&self) -> Option<Instant> {
        self.lock().closed_until.filter(|until| *until > Instant::now())
    }

    fn is_closed(&self) -> bool {
        self.closed_until().is_some()
    }

    /// The most requests that were ever in flight at once.
    pub(crate) fn high_water(&self) -> usize {
        self.lock().high_water
    }

    /// Hands out permits while there are both room and takers.
    fn dispatch(&self) {
        let Some(this) = self.this.upgrade() else { return };
        let mut state = self.lock();
        while state.has_room() {
            let Some(taker) = state.next_in_turn() else { break };
            match taker.send(Permit { gate: Some(Arc::clone(&this)) }) {
                Ok(()) => {
                    state.in_flight += 1;
                    state.high_water = state.high_water.max(state.in_flight);
                }
                // Gave up waiting. Its permit never counted, and must not lock the gate again when it goes.
                Err(mut permit) => permit.gate = None,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&mut self) -> bool {
        let now = Instant::now();
        if self.closed_until.is_some_and(|until| until <= now) {
            self.closed_until = None;
        }
        if self.near_limit_until.is_some_and(|until| until <= now) {
            self.near_limit_until = None;
        }
        let cap = if self.near_limit_until.is_some() { MAXIMUM_IN_FLIGHT / 2 } else { MAXIMUM_IN_FLIGHT };
        self.closed_until.is_none() && self.in_flight < self.window.min(cap)
    }

    fn enqueue(&mut self, tenant: TenantId, taker: oneshot::Sender<Permit>) {
        match self.queues.iter_mut().find(|(id, _)| *id == tenant) {
            Some((_, queue)) => queue.push_back(taker),
            None => self.queues.push_back((tenant, VecDeque::from([taker]))),
        }
    }

    fn enqueue_first(&mut self, tenant: TenantId, taker: oneshot::Sender<Permit>) {
        match self.queues.iter_mut().find(|(id, _)| *id == tenant) {
            Some((_, queue)) => queue.push_front(taker),
            None => self.queues.push_front((tenant, VecDeque::from([taker]))),
        }
    }

    /// The tenant served goes to the end of the round.
    fn next_in_turn(&mut self) -> Option<oneshot::Sender<Permit>> {
        let (tenant, mut queue) = self.queues.pop_front()?;
        let taker = queue.pop_front();
        if !queue.is_empty() {
            self.queues.push_back((tenant, queue));
        }
        taker
    }
}

impl Permit {
    /// Gives the permit back after a good answer, which widens the window by one.
    pub(crate) fn succeeded(self) {
        if let Some(gate) = &self.gate {
            let mut state = gate.lock();
            state.window = (state.window + 1).min(MAXIMUM_IN_FLIGHT);
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            let mut state = gate.lock();
            state.in_flight = state.in_flight.saturating_sub(1);
            drop(state);
            gate.dispatch();
        }
    }
}

async fn sleep_until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;
    use tokio::task::JoinSet;
    use tokio::time::{advance, sleep};

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn never_more_than_eight_are_in_flight_and_eight_are_reached() {
        let gate = Gate::new();
        let mut tasks = JoinSet::new();
        for tenant in 0..40 {
            let gate = Arc::clone(&gate);
            tasks.spawn(async move {
                let permit = gate.acquire(tenant).await;
                assert!(gate.lock().in_flight <= MAXIMUM_IN_FLIGHT);
                sleep(SECOND).await;
                permit.succeeded();
            });
        }
        let began = Instant::now();
        while let Some(done) = tasks.join_next().await {
            done.unwrap();
        }
        assert_eq!(gate.high_water(), MAXIMUM_IN_FLIGHT);
        assert_eq!(began.elapsed(), 5 * SECOND);
        assert_eq!(gate.lock().in_flight, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_gate_lets_nobody_through_also_those_who_waited_already() {
        let gate = Gate::new();
        let mut held = Vec::new();
        for _ in 0..MAXIMUM_IN_FLIGHT {
            held.push(gate.acquire(1).await);
        }
        let waiting = {
            let gate = Arc::clone(&gate);
            tokio::spawn(async move {
                let _permit = gate.acquire(2).await;
                Instant::now()
            })
        };
        sleep(SECOND).await;
        let closed_at = Instant::now();
        gate.close_for(10 * SECOND);
        // Permits that come back while the gate is closed open it for nobody.
        held.clear();
        gate.close_for(2 * SECOND);
        assert_eq!(gate.closed_until(), Some(closed_at + 10 * SECOND));
        assert_eq!(waiting.await.unwrap() - closed_at, 10 * SECOND);
        assert_eq!(gate.closed_until(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_gate_that_closes_again_while_it_is_closed_stays_closed_longer() {
        let gate = Gate::new();
        let began = Instant::now();
        gate.close_for(5 * SECOND);
        let acquire = gate.acquire(1);
        let close_again = async {
            sleep(3 * SECOND).await;
            gate.close_for(5 * SECOND);
        };
        let (_permit, ()) = tokio::join!(acquire, close_again);
        assert_eq!(began.elapsed(), 8 * SECOND);
    }

    #[tokio::test(start_paused = true)]
    async fn a_permit_granted_before_the_gate_closed_is_worth_nothing_to_whoever_picks_it_up_after() {
        let gate = Gate::new();
        let mut held = Vec::new();
        for _ in 0..MAXIMUM_IN_FLIGHT {
            held.push(gate.acquire(1).await);
        }
        let mut waiting = Box::pin(gate.acquire(1));
        let mut behind = Box::pin(gate.acquire(1));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert!(behind.as_mut().now_or_never().is_none());
        // Granted to the one who waits; the next answer is a 429, and only then does it get to run.
        held.pop();
        gate.close_for(10 * SECOND);
        held.clear();
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(gate.lock().in_flight, 0);
        // It keeps its place.
        advance(10 * SECOND).await;
        assert!(behind.as_mut().now_or_never().is_none());
        assert!(waiting.as_mut().now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn after_it_reopens_the_window_grows_from_one() {
        let gate = Gate::new();
        gate.close_for(SECOND);
        let first = gate.acquire(1).await;
        assert!(gate.acquire(1).now_or_never().is_none());
        first.succeeded();
        let second = gate.acquire(1).await;
        let third = gate.acquire(1).await;
        assert!(gate.acquire(1).now_or_never().is_none());
        // A failure does not widen it.
        drop(second);
        let _fourth = gate.acquire(1).await;
        assert!(gate.acquire(1).now_or_never().is_none());
        third.succeeded();
        let _fifth = gate.acquire(1).await;
        let _sixth = gate.acquire(1).await;
        assert!(gate.acquire(1).now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn near_the_limit_the_window_is_halved_for_a_while() {
        let gate = Gate::new();
        gate.near_limit();
        let mut held = Vec::new();
        for _ in 0..MAXIMUM_IN_FLIGHT / 2 {
            held.push(gate.acquire(1).await);
        }
        assert!(gate.acquire(1).now_or_never().is_none());
        advance(NEAR_LIMIT).await;
        assert!(gate.acquire(1).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_tenant_with_many_waiting_delays_another_by_its_turn_only() {
        let gate = Gate::new();
        let mut tasks = JoinSet::new();
        let mut queue = |tenant: TenantId, count: usize| {
            for _ in 0..count {
                let gate = Arc::clone(&gate);
                tasks.spawn(async move {
                    let permit = gate.acquire(tenant).await;
                    sleep(SECOND).await;
                    drop(permit);
                    tenant
                });
            }
        };
        queue(1, 100);
        queue(2, 2);
        let mut order = Vec::new();
        while let Some(tenant) = tasks.join_next().await {
            order.push(tenant.unwrap());
        }
        let last = order.iter().rposition(|tenant| *tenant == 2).unwrap();
        assert!(last < 2 * MAXIMUM_IN_FLIGHT, "the small tenant was served as number {last} only");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_gives_up_waiting_leaves_nothing_behind() {
        let gate = Gate::new();
        let mut held = Vec::new();
        for _ in 0..MAXIMUM_IN_FLIGHT {
            held.push(gate.acquire(1).await);
        }
        for _ in 0..100 {
            assert!(gate.acquire(2).now_or_never().is_none());
        }
        held.clear();
        for _ in 0..MAXIMUM_IN_FLIGHT {
            held.push(gate.acquire(3).now_or_never().unwrap());
        }
        // Granted, but never picked up.
        let mut waiting = Box::pin(gate.acquire(4));
        assert!(waiting.as_mut().now_or_never().is_none());
        held.pop();
        drop(waiting);
        assert!(gate.acquire(5).now_or_never().is_some());
    }
}
