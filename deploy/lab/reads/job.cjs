module.exports = (settings) => `approved job, ${settings}`;
