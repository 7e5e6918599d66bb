//! The worker of one L3 network for one provider outside: tells the provider's driver what the log implies for the
//! network, until it has no service there any more. What a driver could not do is tried again; the newest state wins.

use super::Reconcilers;
use crate::{rules::Exists, *};
use std::{ops::ControlFlow, sync::Arc, time::Duration};
use switchback_appliance::{Driver, NetworkFold, Provider, Seat};
use switchback_events::*;
use switchback_journal::EventHead;
use tokio::sync::Notify;

/// Pauses before what a driver could not do is tried again: the first, and the longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));

/// A network that a provider outside serves.
pub(super) type Post = (NetworkServiceProviderId, L3NetworkId);

/// What the wait for a post is known by.
pub(super) fn key((provider, network): Post) -> Id {
    Id::of_name(&format!("service:{provider}:{network}"))
}

/// The driver of a provider outside.
fn driver(provider: &dyn Provider) -> Option<&dyn Driver> {
    match provider.seat() {
        Seat::Outside(driver) => Some(driver),
        Seat::Router | Seat::Hosts => None,
    }
}

impl Reconcilers {
    /// The provider `id`, if it is one outside.
    fn outside(&self, id: NetworkServiceProviderId) -> Option<Arc<dyn Provider>> {
        let record = self.state::<NetworkServiceProvider>(id)?;
        let provider = self.states().providers().find(&record.provider_type)?;
        driver(&**provider).map(|_| provider.clone())
    }

    /// The posts that an event may change.
    pub(super) fn posts_touched(&self, event: &Recorded) -> Vec<Post> {
        let kinds = [StreamKind::L3Network, StreamKind::IpRange, StreamKind::VmInstance];
        if !kinds.contains(&event.stream.kind) || !self.states().providers().iter().any(|one| driver(&**one).is_some())
        {
            return vec![];
        }
        let mut posts = Vec::new();
        for tag in &event.tags {
            let Some(l3) = self.state::<L3Network>(*tag) else { continue };
            posts.extend(l3.services.values().map(|provider| (*provider, L3NetworkId(*tag))));
        }
        if let Event::L3Network(L3NetworkEvent::ServicesDetached { provider, .. }) = &event.event {
            posts.push((*provider, L3NetworkId(event.stream.id)));
        }
        posts.sort_unstable();
        posts.dedup();
        posts.retain(|(provider, _)| self.outside(*provider).is_some());
        posts
    }

    /// All posts there are when the server starts: what the log says, and what drivers serve still.
    pub(super) async fn posts_at_start(&self) -> Vec<Post> {
        let mut posts = Vec::new();
        for provider in self.states().providers().iter() {
            let Some(driver) = driver(&**provider) else { continue };
            let all = directory::Relation::All(StreamKind::NetworkServiceProvider);
            let records = self.states().members((all, Id::NIL));
            let own = records.into_iter().find(|id| {
                self.state::<NetworkServiceProvider>(*id)
                    .is_some_and(|record| record.provider_type == provider.provider_type())
            });
            let Some(own) = own.map(NetworkServiceProviderId) else { continue };
            match driver.served().await {
                Ok(networks) => posts.extend(networks.into_iter().map(|network| (own, network))),
                Err(error) => tracing::warn!(provider = provider.provider_type(), error, "what it serves is not known"),
            }
            for l3 in self.states().members((directory::Relation::All(StreamKind::L3Network), Id::NIL)) {
                if self.state::<L3Network>(l3).is_some_and(|l3| l3.services.values().any(|of| *of == own)) {
                    posts.push((own, L3NetworkId(l3)));
                }
            }
        }
        posts.sort_unstable();
        posts.dedup();
        posts
    }

    pub(super) fn wake_post(self: Arc<Self>, post: Post) {
        let Some(provider) = self.outside(post.0) else { return };
        let wake = {
            let mut world = self.world.lock();
            if let Some(wake) = world.post_wakes.get(&post) {
                wake.notify_one();
                return;
            }
            let wake = Arc::new(Notify::new());
            world.post_wakes.insert(post, wake.clone());
            wake
        };
        tokio::spawn(work(self, provider, post, wake));
    }
}

/// Works until the provider has no service on the network.
async fn work(reconcilers: Arc<Reconcilers>, provider: Arc<dyn Provider>, post: Post, wake: Arc<Notify>) {
    let Some(driver) = driver(&*provider) else { return };
    let network = post.1;
    let mut fold = NetworkFold::new(post.0, network);
    let (mut read, mut applied, mut retry) = (0, None, RETRY.0);
    loop {
        let journal = reconcilers.states().journal().clone();
        let seen = journal.durable();
        let advanced = tokio::task::spawn_blocking(move || {
            let bears = |head: &EventHead<'_>| NetworkFold::may_bear(head.stream.kind, head.name);
            let done = journal.replay(Some(&[network.0]), read, seen, &bears, &mut |event| {
                fold.apply(&event);
                ControlFlow::Continue(())
            });
            (fold, done)
        });
        let told = match advanced.await {
            Ok((next, Ok(_))) => {
                (fold, read) = (next, seen);
                tell(driver, &*provider, &fold, &mut applied, network).await
            }
            Ok((_, Err(error))) => {
                // Begun anew: a fold that missed events is none.
                (fold, read) = (NetworkFold::new(post.0, network), 0);
                Err(error.to_string())
            }
            Err(error) => {
                (fold, read) = (NetworkFold::new(post.0, network), 0);
                Err(error.to_string())
            }
        };
        match told {
            Ok(serves) => {
                retry = RETRY.0;
                reconcilers.converge(key(post), seen);
                if !serves && ended(&reconcilers, post, &wake) {
                    return;
                }
                wake.notified().await;
            }
            Err(error) => {
                tracing::warn!(provider = provider.provider_type(), %network, error, "a provider did not do as told");
                // What is new is tried at once.
                let _ = tokio::time::timeout(retry, wake.notified()).await;
                retry = (retry * 2).min(RETRY.1);
            }
        }
    }
}

/// Tells the driver what it does not know yet; whether the provider serves the network.
async fn tell(
    driver: &dyn Driver,
    provider: &dyn Provider,
    fold: &NetworkFold,
    applied: &mut Option<String>,
    network: L3NetworkId,
) -> Result<bool, String> {
    let Some(document) = fold.document(provider) else {
        driver.remove(network).await?;
        *applied = None;
        return Ok(false);
    };
    let digest = document.digest();
    if applied.as_ref() != Some(&digest) {
        // Until it has succeeded nobody knows what is served.
        *applied = None;
        driver.apply(&document).await?;
        *applied = Some(digest);
    }
    Ok(true)
}

/// Ends the worker, unless it was woken meanwhile.
fn ended(reconcilers: &Reconcilers, post: Post, wake: &Arc<Notify>) -> bool {
    let serves = |l3: Arc<L3Network>| l3.exists() && l3.services.values().any(|provider| *provider == post.0);
    let mut world = reconcilers.world.lock();
    if reconcilers.state::<L3Network>(post.1).is_some_and(serves) {
        wake.notify_one();
        return false;
    }
    world.post_wakes.remove(&post);
    true
}
