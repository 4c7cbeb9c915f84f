//! Tests of the state that servers agree on.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::model::Ban;
use crate::protocol::Time;
use crate::protocol::ban_target::BanTarget;
use crate::protocol::name::Look;

/// Nicks. Some are the same nick in another spelling, and some look like another nick.
const NICKS: [&str; 6] = ["bob", "Bob", "b0b", "paul", "pauI", "ann"];
const SERVERS: [&str; 3] = ["one", "two", "three"];
const ROOMS: [&str; 2] = ["#a", "#b"];
const RESERVE: Reserve = Reserve {
    for_ms: 50,
    origin: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST),
    nicks_max: 2,
    nicks_per_address_max: 2,
};

fn nick(text: &str) -> Nick {
    Nick::parse(text).expect("it is a nick")
}

fn room(text: &str) -> RoomName {
    RoomName::parse(text).expect("it is a room's name")
}

fn take(text: &str, claim: Claim) -> Action {
    Action::TakeNick {
        nick: nick(text),
        claim,
        former: None,
    }
}

fn drop(text: &str, reserve: Option<Reserve>) -> Action {
    let nick = nick(text);
    Action::DropNick { nick, reserve }
}

fn password(byte: u8) -> Claim {
    Claim::Password(Box::new([byte; 32]))
}

fn change(state: &mut State, server: &str, action: Action, at_ms: u64) -> Outcome {
    let server = server.into();
    let outcome = apply(state, &Change { server, action }, at_ms, Time(at_ms));
    if let Ok(Some(done)) = &outcome
        && let Some(released) = done.released
    {
        state.forget(released);
    }
    outcome
}

fn code(outcome: &Outcome) -> Option<Code> {
    outcome.as_ref().err().map(|(code, _)| *code)
}

/// Returns the nicks that are in use or reserved.
fn users(state: &State) -> Vec<(NickId, &User)> {
    let mut users = Vec::new();
    let mut slot = 0;
    while let Some((id, user)) = state.users.from_slot(slot) {
        slot = id.slot() + 1;
        users.push((id, user));
    }
    users
}

/// Returns the members of all rooms.
fn members(state: &State) -> Vec<(RoomName, NickId, ServerSet)> {
    let members_of = |room: RoomName| {
        let members = state.members(&room).cloned().unwrap_or_default();
        let members = members.into_iter();
        members.map(move |(nick, member)| (room.clone(), nick, member.servers))
    };
    ROOMS.map(room).into_iter().flat_map(members_of).collect()
}

/// Returns what servers must agree on, as text.
fn shared(state: &State) -> Vec<String> {
    let mut shared: Vec<String> = Vec::new();
    for (id, user) in users(state) {
        let User {
            nick,
            reservation,
            servers,
            away,
            here: _,
        } = user;
        shared.push(format!(
            "{id:?} {nick} {reservation:?} {servers:?} {away:?}"
        ));
    }
    let due = &state.reserved.nicks;
    shared.push(format!("{due:?} {:?} {:?}", state.servers, members(state)));
    shared.push(format!("{:?}", state.open));
    let accounts = NICKS.map(|name| {
        let name = nick(name);
        let account = state.directory().accounts.get(&name);
        (account.map(Nick::to_string), state.account_version(&name))
    });
    shared.push(format!("{accounts:?} {:?}", state.directory().bans));
    shared
}

/// Returns, as text, the part of an outcome that servers must agree on.
fn result(outcome: &Outcome) -> String {
    match outcome {
        Ok(Some(done)) => {
            let seen = done.seen.iter().map(|seen| match seen.what {
                MemberChange::Left(nick, _) => format!("{} left by {nick:?}", seen.room),
                what => format!("{} {what:?}", seen.room),
            });
            format!(
                "{:?} {:?} {:?}",
                done.nick,
                done.released,
                seen.collect::<Vec<_>>()
            )
        }
        other => format!("{other:?}"),
    }
}

/// Returns the changes with which a server carries out `action`. The connections leave their rooms before they drop
/// their nick. If they take another nick, they stay in their rooms.
fn in_order(state: &State, server: &str, action: Action) -> Vec<Action> {
    let rooms_of = |nick: &Nick| -> Vec<Arc<RoomName>> {
        let id = state.find(nick);
        let number = state.servers.iter().position(|known| **known == *server);
        let is_there = |(_, nick, servers): &(RoomName, NickId, ServerSet)| {
            Some(*nick) == id && number.is_some_and(|n| servers.contains(n as u32))
        };
        let members = members(state).into_iter().filter(is_there);
        members.map(|(room, ..)| room.into()).collect()
    };
    match action {
        Action::DropNick { nick, reserve } => {
            let leave = |room| Action::LeaveRoom {
                room,
                nick: nick.clone(),
                text: "".into(),
            };
            let mut actions: Vec<_> = rooms_of(&nick).into_iter().map(leave).collect();
            actions.push(Action::DropNick { nick, reserve });
            actions
        }
        Action::TakeNick {
            nick,
            claim,
            former: Some(former),
        } => {
            let rooms = rooms_of(&former.nick);
            let former = Some(FormerNick { rooms, ..former });
            vec![Action::TakeNick {
                nick,
                claim,
                former,
            }]
        }
        action => vec![action],
    }
}

fn claim() -> impl Strategy<Value = Claim> {
    prop_oneof![
        2 => Just(Claim::Free),
        2 => (0..2_u8).prop_map(password),
        1 => Just(Claim::Account),
        1 => Just(Claim::Shared),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    let named = || proptest::sample::select(&NICKS[..]).prop_map(nick);
    let former = (named(), any::<bool>());
    let former = former.prop_map(|(nick, is_last)| FormerNick {
        nick,
        is_last,
        rooms: Vec::new(),
    });
    let in_room = (0..ROOMS.len()).prop_map(|at| room(ROOMS[at]).into());
    prop_oneof![
        6 => (named(), claim(), proptest::option::of(former)).prop_map(|(nick, claim, former)| {
            Action::TakeNick { nick, claim, former }
        }),
        4 => (named(), any::<bool>()).prop_map(|(nick, is_reserved)| Action::DropNick {
            nick,
            reserve: is_reserved.then_some(RESERVE),
        }),
        1 => named().prop_map(|nick| Action::AddAccount { nick }),
        1 => named().prop_map(|nick| Action::RemoveAccount { nick }),
        1 => (named(), 0..200_u64).prop_map(|(nick, until)| Action::AddBan(Box::new(Ban {
            target: BanTarget::Nick(Box::new(Look::of(nick))),
            by: "root".into(),
            text: String::new(),
            until: Some(Time(until)),
        }))),
        1 => named().prop_map(|nick| Action::RemoveBan(BanTarget::Nick(Box::new(Look::of(nick))))),
        1 => in_room.clone().prop_map(|room| Action::DeleteRoom { room }),
        1 => (named(), any::<bool>()).prop_map(|(nick, is_away)| Action::SetAway {
            nick,
            text: is_away.then(|| "lunch".into()),
            rooms: Vec::new(),
        }),
        6 => (in_room.clone(), named()).prop_map(|(room, nick)| Action::EnterRoom { room, nick }),
        1 => in_room.clone().prop_map(|room| Action::OpenRoom { room }),
        1 => in_room.clone().prop_map(|room| Action::CloseRoom { room }),
        2 => (in_room, named()).prop_map(|(room, nick)| Action::LeaveRoom {
            room,
            nick,
            text: "".into(),
        }),
    ]
}

proptest! {
    #[test]
    fn the_same_changes_give_the_same_state_on_every_server(
        changes in vec((0..SERVERS.len(), action(), 0..30_u64), 1..60),
    ) {
        let mut states = [State::default(), State::default(), State::default()];
        let mut at_ms = 0;
        for (server, action, later) in changes {
            // A server that stops at any time and starts again continues from what was written.
            let written = states[0].written();
            states[2] = State::default();
            prop_assert!(states[2].read(&written).is_ok());
            at_ms += later;
            let server = SERVERS[server];
            for action in in_order(&states[0], server, action) {
                let [one, other, _] = states.each_mut().map(|state| {
                    change(state, server, action.clone(), at_ms)
                });
                prop_assert_eq!(states[2].written(), states[0].written());
                prop_assert_eq!(result(&one), result(&other));
                // What only one server knows must not influence a decision.
                if let Ok(Some(done)) = one {
                    states[0].here_mut(done.nick).into_iter().for_each(|here| here.inbox_read_to += 1);
                    let member = states[0].member_mut(&room(ROOMS[0]), done.nick);
                    member.into_iter().for_each(|member| member.connections += 1);
                }
            }
            prop_assert_eq!(shared(&states[0]), shared(&states[1]));
            // No two nicks look alike, and every nick in the state is in use or reserved.
            let state = &states[0];
            let users = users(state);
            for (n, (id, user)) in users.iter().enumerate() {
                let is_reserved = state.reserved.nicks.contains_key(id);
                prop_assert!(user.is_in_use() != is_reserved);
                prop_assert_eq!(state.find(&user.nick), Some(*id));
                prop_assert!(!users[..n].iter().any(|(_, other)| user.nick.looks_like(&other.nick)));
            }
            // A nick is in a room only through servers that use it.
            for (_, nick, servers) in members(state) {
                let used = state.user(nick).map_or(0, |user| user.servers.0);
                prop_assert!(!servers.is_empty() && servers.0 & !used == 0);
            }
        }
    }
}

#[test]
fn a_nick_is_used_on_one_server_until_its_last_connection_there_ends() {
    let mut state = State::default();
    let take_bob = || take("bob", Claim::Free);
    assert!(change(&mut state, "one", take_bob(), 0).is_ok());
    for other in ["bob", "Bob", "b0b"] {
        let refused = change(&mut state, "two", take(other, Claim::Free), 0);
        assert_eq!(code(&refused), Some(Code::NickTaken), "{other}");
    }
    // Only the server that has the connections can allow another connection to share the nick.
    let shared = change(&mut state, "two", take("bob", Claim::Shared), 0);
    assert_eq!(code(&shared), Some(Code::NickTaken));
    assert!(change(&mut state, "one", take("bob", Claim::Shared), 0).is_ok());
    // A server that does not use the nick cannot drop the nick.
    assert!(change(&mut state, "two", drop("bob", None), 0).is_ok());
    assert_eq!(
        code(&change(&mut state, "two", take_bob(), 0)),
        Some(Code::NickTaken)
    );
    assert!(change(&mut state, "one", drop("bob", Some(RESERVE)), 0).is_ok());
    assert!(change(&mut state, "two", take_bob(), 0).is_ok());
}

#[test]
fn a_password_shares_a_nick_between_servers_and_reserves_it_after_its_last_use() {
    let mut state = State::default();
    let take_bob = |claim| take("bob", claim);
    assert!(change(&mut state, "one", take_bob(password(1)), 0).is_ok());
    let wrong = change(&mut state, "two", take_bob(password(2)), 0);
    assert_eq!(code(&wrong), Some(Code::BadPassword));
    assert!(change(&mut state, "two", take_bob(password(1)), 0).is_ok());
    assert!(change(&mut state, "one", drop("bob", None), 0).is_ok());
    let refused = change(&mut state, "one", take_bob(Claim::Free), 0);
    assert_eq!(code(&refused), Some(Code::NickTaken));
    assert!(change(&mut state, "two", drop("bob", Some(RESERVE)), 10).is_ok());
    assert_eq!((state.nicks(), state.nicks_in_use()), (1, 0));
    let refused = change(&mut state, "one", take_bob(Claim::Free), 59);
    assert_eq!(code(&refused), Some(Code::NickTaken));
    assert!(change(&mut state, "one", take_bob(Claim::Free), 60).is_ok());
}

#[test]
fn the_owner_of_a_registered_nick_uses_it_on_several_servers() {
    let mut state = State::default();
    let early = change(&mut state, "one", take("bob", Claim::Account), 0);
    assert_eq!(code(&early), Some(Code::BadPassword));
    let registered = Action::AddAccount { nick: nick("bob") };
    assert!(change(&mut state, "one", registered, 0).is_ok());
    for claim in [Claim::Free, password(1)] {
        let refused = change(&mut state, "one", take("Bob", claim), 0);
        assert_eq!(code(&refused), Some(Code::NeedPassword));
    }
    for server in SERVERS {
        assert!(change(&mut state, server, take("bob", Claim::Account), 0).is_ok());
    }
    // The spelling of a nick cannot change while another connection uses the nick.
    let respelled = Action::TakeNick {
        nick: nick("Bob"),
        claim: Claim::Account,
        former: Some(FormerNick {
            nick: nick("bob"),
            is_last: true,
            rooms: Vec::new(),
        }),
    };
    let refused = change(&mut state, "one", respelled.clone(), 0);
    assert_eq!(code(&refused), Some(Code::NickTaken));
    for server in ["two", "three"] {
        assert!(change(&mut state, server, drop("bob", Some(RESERVE)), 0).is_ok());
    }
    assert!(change(&mut state, "one", respelled, 0).is_ok());
    let names: Vec<_> = state
        .candidates(&nick("bob"))
        .map(|(_, user)| user.nick.as_str())
        .collect();
    assert!(
        names.iter().all(|name| *name == "Bob") && !names.is_empty(),
        "{names:?}"
    );
}

#[test]
fn a_member_leaves_a_room_with_its_last_server_and_is_renamed_if_it_is_alone_there() {
    let mut state = State::default();
    let seen = |state: &mut State, server: &str, action: Action| {
        let done = change(state, server, action, 0).expect("it is allowed");
        let seen = done.expect("the nick is in use").seen;
        seen.into_iter().map(|seen| seen.what).collect::<Vec<_>>()
    };
    let ops: Arc<RoomName> = room("#ops").into();
    let enter = || Action::EnterRoom {
        room: ops.clone(),
        nick: nick("bob"),
    };
    let leave = || Action::LeaveRoom {
        room: ops.clone(),
        nick: nick("bob"),
        text: "".into(),
    };
    let rename = |to: &str| Action::TakeNick {
        nick: nick(to),
        claim: Claim::Free,
        former: Some(FormerNick {
            nick: nick("bob"),
            is_last: true,
            rooms: vec![ops.clone()],
        }),
    };
    for server in ["one", "two"] {
        assert!(change(&mut state, server, take("bob", password(1)), 0).is_ok());
    }
    assert!(matches!(
        seen(&mut state, "one", enter())[..],
        [MemberChange::Joined(_)]
    ));
    assert!(seen(&mut state, "two", enter()).is_empty());
    assert!(seen(&mut state, "one", leave()).is_empty());
    assert!(matches!(
        seen(&mut state, "two", leave())[..],
        [MemberChange::Left(..)]
    ));
    assert!(state.members.is_empty());
    for server in ["one", "two"] {
        seen(&mut state, server, enter());
    }
    // The old nick stays in the room through the server "two", so "ann" joins as another member.
    assert!(matches!(
        seen(&mut state, "one", rename("ann"))[..],
        [MemberChange::Joined(_)]
    ));
    assert!(matches!(
        seen(&mut state, "two", rename("rob"))[..],
        [MemberChange::Renamed { .. }]
    ));
    let left = state.members(&ops).map(BTreeMap::len);
    assert_eq!((left, state.nicks()), (Some(2), 2));
}
