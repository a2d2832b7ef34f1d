/* Configurations and session caches for tests of the roles, without a running Postfix. */
import type {ExecutionContext} from 'ava';
import type {Milliseconds} from '../../src/base/units.ts';
import type {Configuration} from '../../src/conf/configuration.ts';
import {readConfiguration} from '../../src/conf/postconf.ts';
import {DeadlineClock} from '../../src/event/deadline.ts';
import {Reactor} from '../../src/event/reactor.ts';
import {close} from '../../src/ffi/libc/libc.ts';
import {TlsmgrClient} from '../../src/tlsmgr/tlsmgr-client.ts';
import type {Instance} from './instance.ts';

/** Reads the configuration of an instance. Use `forService()` to add parameters of a service. */
export async function configurationIn(instance: Instance): Promise<Configuration> {
	return await readConfiguration({
		configDirectory: instance.directory,
		overrides: [],
		serviceName: 'tlsproxy',
		processName: 'tlsproxy',
	});
}

/** A client without tlsmgr(8): it is disposed, and answers every request with undefined. */
export function disposedTlsmgrClient(
	t: ExecutionContext,
	{features}: Configuration,
): {readonly tlsmgr: TlsmgrClient; readonly clock: DeadlineClock} {
	const reactor = new Reactor(close);
	t.teardown(() => reactor[Symbol.dispose]());
	const clock = new DeadlineClock();
	const tlsmgr = new TlsmgrClient(reactor, clock, {
		path: '/nonexistent/tlsmgr',
		greeting: features.greeting,
		idle: 1000 as Milliseconds,
	});
	tlsmgr[Symbol.dispose]();
	return {tlsmgr, clock};
}
