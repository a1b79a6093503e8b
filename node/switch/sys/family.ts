// Address families of sockets (socket(2)), apart from the functions so that nothing native is loaded with them.

export const AF_INET = 2
export const AF_INET6 = 10
