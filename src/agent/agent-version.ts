/** Version that the agent tells the server: package.json's, held together by a test. */
export const AGENT_VERSION = '0.1.0';
