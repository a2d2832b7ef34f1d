/*++
/* NAME
/*	client-role-enabled 3
/* SUMMARY
/*	decides whether main.cf enables the client role
/* DESCRIPTION
/*	The client role is enabled if its security level is not "none", or
/*	if a policy table may select a level for single destinations. The
/*	rule works on plain values, so that the daemon and doctor(1) can
/*	share it.
/* SEE ALSO
/*	postfix src/tlsproxy/tlsproxy.c, pre_jail_init_client()
/*--*/

/** Names of the two parameters that Postfix 3.7 renamed. */
export interface ClientRoleNames {
	readonly level: 'tlsproxy_client_security_level' | 'tlsproxy_client_level';
	readonly policy: 'tlsproxy_client_policy_maps' | 'tlsproxy_client_policy';
}

/** Values of the parameters that enable the client role, expanded. */
export interface ClientRoleValues {
	/** The security level, in any case. Empty: `useTls` and `enforceTls` decide. */
	readonly level: string;
	/** tlsproxy_client_use_tls */
	readonly useTls: boolean;
	/** tlsproxy_client_enforce_tls */
	readonly enforceTls: boolean;
	/** The policy tables, under either name. */
	readonly policy: string;
	/** tlsproxy_client_per_site */
	readonly perSite: string;
}

/**
 * The parameter names of a configuration.
 *
 * @param has - whether the configuration has a parameter. Each name is looked up: with an unknown release, or in
 * an upgrade, one may be missing.
 */
export function clientRoleNames(
	has: (name: ClientRoleNames['level' | 'policy']) => boolean,
): ClientRoleNames {
	return {
		level: has('tlsproxy_client_security_level') ? 'tlsproxy_client_security_level' : 'tlsproxy_client_level',
		policy: has('tlsproxy_client_policy_maps') ? 'tlsproxy_client_policy_maps' : 'tlsproxy_client_policy',
	};
}

/** Whether requests of the client role are served. */
export function isClientRoleEnabled({level, useTls, enforceTls, policy, perSite}: ClientRoleValues): boolean {
	const enabledByLevel = level === '' ? useTls || enforceTls : level.toLowerCase() !== 'none';
	return enabledByLevel || policy !== '' || perSite !== '';
}
