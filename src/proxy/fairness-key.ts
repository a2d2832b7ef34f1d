/*++
/* NAME
/*	fairness-key 3
/* SUMMARY
/*	key by which remote clients share a process
/* DESCRIPTION
/*	A remote client decides how often it connects, and from which of
/*	its addresses. Therefore a process is shared by address: one IPv4
/*	address, or one IPv6 /64 network. That is the smallest network that
/*	a site gets, and one machine can use all of its addresses.
/*
/*	In the client role the local mail system decides on the number of
/*	connections. Many connections to one large provider are many
/*	deliveries, and have no key in common.
/* SEE ALSO
/*	RFC 4291 section 2.5, RFC 6177; postconf(5),
/*	smtpd_client_ipv6_prefix_length
/*--*/

import type {Request} from '../wire/request.ts';

/** Number of 16-bit groups in an IPv6 address, and in a /64 network. Source: RFC 4291. */
const ADDRESS_GROUPS = 8;
const NETWORK_GROUPS = 4;

/** The fairness key of a hand-off: address or network of the remote client; undefined in the client role. */
export function fairnessKey({
	role,
	remoteEndpoint,
}: Pick<Request, 'role' | 'remoteEndpoint'>): string | undefined {
	return role === 'client' ? undefined : clientNetwork(remoteEndpoint);
}

/**
 * The address or network of an endpoint, `[address]:port`, without the port. Text that is not an address is
 * returned unchanged.
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

/* node:net takes longer to load than all modules of this program, and clients wait while a process starts. */
function isIpv6(text: string): boolean {
	return /^[\da-f:.]+$/i.test(text) && URL.canParse(`http://[${text}]`);
}

/* Expands `::`, and removes leading zeros. */
function networkGroups(address: string): readonly string[] {
	const [head = [], tail = []] = address
		.split('::')
		.map(half => half.split(':').filter(group => group !== ''))
		/* The last 32 bits may be written as an IPv4 address; they are not part of the network. */
		.map(groups => groups.flatMap(group => (group.includes('.') ? ['0', '0'] : [group])));
	const zeros = Array.from({length: ADDRESS_GROUPS - head.length - tail.length}, () => '0');
	return [...head, ...zeros, ...tail]
		.slice(0, NETWORK_GROUPS)
		.map(group => Number.parseInt(group, 16).toString(16));
}
