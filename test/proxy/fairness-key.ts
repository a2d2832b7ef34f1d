import test from 'ava';
import {clientNetwork, fairnessKey} from '../../src/proxy/fairness-key.ts';

const belongs = test.macro({
	exec(t, endpoint: string, network: string) {
		t.is(clientNetwork(endpoint), network);
	},
	title(_, endpoint: string, network: string) {
		return `clientNetwork of "${endpoint}" is "${network}"`;
	},
});

test(belongs, '[192.0.2.1]:25', '192.0.2.1');
test(belongs, '[192.0.2.1]:40000', '192.0.2.1');
test(belongs, '[192.0.2.2]:25', '192.0.2.2');
test(belongs, '[2001:db8:1:2:3:4:5:6]:25', '2001:db8:1:2::/64');
test(belongs, '[2001:db8:1:2:ffff::]:25', '2001:db8:1:2::/64');
test(belongs, '[2001:DB8:0001:2::1]:40000', '2001:db8:1:2::/64');
test(belongs, '[2001:db8::1]:25', '2001:db8:0:0::/64');
test(belongs, '[2001:db8::1:2:3:4:5]:25', '2001:db8:0:1::/64');
test(belongs, '[::1]:25', '0:0:0:0::/64');
test(belongs, '[::]:25', '0:0:0:0::/64');
test(belongs, '[fe80::1%eth0]:25', 'fe80:0:0:0::/64');
test(belongs, '[64:ff9b::192.0.2.1]:25', '64:ff9b:0:0::/64');
/* IPv4-mapped addresses: in one IPv6 network all of them would be one client. */
test(belongs, '[::ffff:192.0.2.1]:25', '192.0.2.1');
test(belongs, '[::FFFF:192.0.2.2]:25', '192.0.2.2');
test(belongs, '[unknown]:25', 'unknown');
test(belongs, '[]:25', '');
test(belongs, 'nonsense', 'nonsense');
test(belongs, '', '');

test('fairnessKey is the network of a remote client, without the port', t => {
	t.is(fairnessKey({role: 'server', remoteEndpoint: '[192.0.2.1]:1'}), '192.0.2.1');
	t.is(fairnessKey({role: 'server', remoteEndpoint: '[192.0.2.1]:2'}), '192.0.2.1');
});

test('fairnessKey is undefined in the client role', t => {
	t.is(fairnessKey({role: 'client', remoteEndpoint: '[192.0.2.1]:25'}), undefined);
});
