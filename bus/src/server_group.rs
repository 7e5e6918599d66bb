//! What can be asked of the server groups of load balancers.

use crate::{Check::*, Parameter, ParameterType, messages, security_group::objects};
use serde::{Deserialize, Serialize};
use switchback_events::{LoadBalancerId, LoadBalancerListenerId, NicId, ServerGroupId};

objects! {
    /// A nic and its share.
    NIC ServerGroupNic {
        /// The nic.
        uuid: NicId = Uuid,
        /// Its share of listeners whose algorithm is weightroundrobin, as text: `0` to `100`, which it is when not given.
        weight: Option<String> = Any,
    }
    /// A server by its address.
    SERVER ServerGroupServer {
        /// The address.
        ip_address: String = Ip,
        /// Its share.
        weight: Option<String> = Any,
    }
}

messages! {
    /// Makes a server group, which listeners of the load balancer may hand on to.
    Command CreateLoadBalancerServerGroup "POST" "/load-balancers/{loadBalancerUuid}/servergroups" => "loadBalancerServerGroup" for Account {
        /// The load balancer.
        load_balancer_uuid: LoadBalancerId = Uuid,
        /// A short name.
        name: String = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
        /// The family of its servers: 4, which it is when not given.
        ip_version: Option<u8> = Int(4, 6),
    }
    /// Changes a server group's name or description.
    Command UpdateLoadBalancerServerGroup "PUT" "/load-balancers/servergroups/{uuid}/actions" => "loadBalancerServerGroup" for Account {
        /// The server group.
        uuid: ServerGroupId = Uuid,
        /// A short name.
        name: Option<String> = Text(255),
        /// A long description.
        description: Option<String> = FreeText(2048),
    }
    /// Deletes a server group that no listener hands on to; a listener's own goes with it. One that is not there is a success.
    Command DeleteLoadBalancerServerGroup "DELETE" "/load-balancers/servergroups/{uuid}" => "" for Account {
        /// The server group.
        uuid: ServerGroupId = Uuid,
    }
    /// Puts nics of VMs into a server group, all on networks of one virtual router with the service LoadBalancer.
    Command AddBackendServerToServerGroup "POST" "/load-balancers/servergroups/{serverGroupUuid}/backendservers" => "loadBalancerServerGroup" for Account {
        /// The server group.
        server_group_uuid: ServerGroupId = Uuid,
        /// The nics.
        vm_nics: Option<Vec<ServerGroupNic>> = Objects(NIC),
        /// Servers by their addresses: not of load balancers of virtual routers.
        servers: Option<Vec<ServerGroupServer>> = Objects(SERVER),
    }
    /// Changes the shares of nics in a server group.
    Command ChangeLoadBalancerBackendServer "PUT" "/load-balancers/servergroups/{serverGroupUuid}/backendserver/actions" => "loadBalancerServerGroup" for Account {
        /// The server group.
        server_group_uuid: ServerGroupId = Uuid,
        /// The nics, with their new shares.
        vm_nics: Option<Vec<ServerGroupNic>> = Objects(NIC),
        /// Servers by their addresses: not of load balancers of virtual routers.
        servers: Option<Vec<ServerGroupServer>> = Objects(SERVER),
    }
    /// Takes nics out of a server group. Those that are not in it are a success.
    Command RemoveBackendServerFromServerGroup "PUT" "/load-balancers/servergroups/{serverGroupUuid}/backendservers/actions" => "loadBalancerServerGroup" for Account {
        /// The server group.
        server_group_uuid: ServerGroupId = Uuid,
        /// The nics.
        vm_nic_uuids: Option<Vec<NicId>> = List(&Uuid),
        /// Servers by their addresses: not of load balancers of virtual routers.
        server_ips: Option<Vec<String>> = List(&Ip),
    }
    /// Has a listener hand on to a server group of its load balancer too.
    Command AddServerGroupToLoadBalancerListener "POST" "/load-balancers/listeners/{listenerUuid}/servergroups" => "loadBalancerListener" for Account {
        /// The server group.
        server_group_uuid: ServerGroupId = Uuid,
        /// The listener.
        listener_uuid: LoadBalancerListenerId = Uuid,
    }
    /// Takes a server group off a listener. One that it does not have is a success; its own stays.
    Command RemoveServerGroupFromLoadBalancerListener "DELETE" "/load-balancers/listeners/{listenerUuid}/servergroups" => "loadBalancerListener" for Account {
        /// The server group.
        server_group_uuid: ServerGroupId = Uuid,
        /// The listener.
        listener_uuid: LoadBalancerListenerId = Uuid,
    }
}
