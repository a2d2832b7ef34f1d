/*++
/* NAME
/*	fairness-key 3
/* SUMMARY
/*	which remote clients count as one
/* DESCRIPTION
/*	A remote client decides how often it connects, and from which of
/*	its addresses. What it may have of this process is therefore
/*	shared by address: one IPv4 address, or one IPv6 network of 64
/*	bits, which is the least that a site is given, and of which one
/*	machine can use every address there is.
/*
/*	Of connections in the client role nobody but our own mail system
/*	decides how many there are: its many connections to one large
/*	provider are many deliveries, and share nothing.
/* SEE ALSO
/*	RFC 4291 section 2.5, RFC 6177; postconf(5),
/*	smtpd_client_ipv6_prefix_length
/*--*/

import type {Request} from '../wire/request.ts';

/** Groups of 16 bits in an address, and in the network that counts. Source: RFC 4291. */
const GROUPS = 8;
const NETWORK_GROUPS = 4;

/** The flow of a hand-off: the address of its remote client, or its network; undefined in the client role. */
export function fairnessKey({
	role,
	remoteEndpoint,
}: Pick<Request, 'role' | 'remoteEndpoint'>): string | undefined {
	return role === 'client' ? undefined : clientNetwork(remoteEndpoint);
}

/**
 * The network that an endpoint, `[address]:port`, belongs to.
 *
 * Note: what is not an address is a network of its own. The port is never part of the answer.
 */
export function clientNetwork(endpoint: string): string {
	const address = /^\[([^\]]*)\]/.exec(endpoint)?.[1] ?? endpoint;
	const [plain = ''] = address.split('%');
	const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(plain)?.[1];
	if (mapped !== undefined) {
		return mapped;
	}

	return isIpv6(plain) ? `${networkGroups(plain).join(':')}::/64` : address;
}

/* Without node:net, which takes longer to load than all modules of ours: a client waits for that. */
function isIpv6(text: string): boolean {
	return /^[\da-f:.]+$/i.test(text) && URL.canParse(`http://[${text}]`);
}

/* Groups that are left out are zero, and leading zeros mean nothing. */
function networkGroups(address: string): readonly string[] {
	const [before = [], after = []] = address
		.split('::')
		.map(half => half.split(':').filter(group => group !== ''))
		/* The last 32 bits may be written as those of an IPv4 address. */
		.map(groups => groups.flatMap(group => (group.includes('.') ? ['0', '0'] : [group])));
	const left = Array.from({length: GROUPS - before.length - after.length}, () => '0');
	return [...before, ...left, ...after]
		.slice(0, NETWORK_GROUPS)
		.map(group => Number.parseInt(group, 16).toString(16));
}
